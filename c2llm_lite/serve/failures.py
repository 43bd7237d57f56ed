"""Errors in the form that OpenAI's API gives them, so that a client's own error handling works."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

BAD_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"


class ApiError(Exception):
    """A request that is answered with an error. param: the field at fault. code: what a program can tell it by."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer, in the form of OpenAI's errors."""
        kind = "rate_limit_error" if self.status == 429 else SERVER_ERROR if self.status >= 500 else BAD_REQUEST
        body = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": body}, self.status, self.headers)
