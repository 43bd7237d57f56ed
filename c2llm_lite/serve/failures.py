"""Errors in the format of OpenAI's API, so that clients' error handling works."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

BAD_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"


class ApiError(Exception):
    """An error response. param: the field at fault. code: its machine-readable name."""

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
        """The response, in OpenAI's format."""
        kind = "rate_limit_error" if self.status == 429 else SERVER_ERROR if self.status >= 500 else BAD_REQUEST
        body = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return JSONResponse({"error": body}, self.status, self.headers)
