"""Ctrl-C and SIGTERM end a conversion to OpenVINO as they end anything else, whatever its front end makes of them."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest

from c2llm_lite.convert import convert
from c2llm_lite.convert.targets.openvino.stops import stops_come_through


class Terminated(KeyboardInterrupt):
    pass


def terminate(number: int, frame: object) -> None:
    raise Terminated


@pytest.fixture
def _handler(monkeypatch):
    """Whatever another test in this process has left."""
    before = signal.signal(signal.SIGTERM, terminate), signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


def wrapped(number: int) -> None:
    """What the front end does: another error in place of the stop's."""
    try:
        signal.raise_signal(number)
    except BaseException as error:
        raise RuntimeError("not converted") from error


@pytest.mark.usefixtures("_handler")
@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_stop_that_a_library_wraps_or_drops_is_raised(number, stop):
    before = signal.getsignal(number)
    with pytest.raises(stop), stops_come_through():
        wrapped(number)
    with pytest.raises(stop), stops_come_through(), contextlib.suppress(BaseException):
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_stop_while_the_front_end_calls_python(checkpoint_folder, tmp_path, monkeypatch):
    pytest.importorskip("optimum.exporters.openvino")
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    decode = TorchScriptPythonDecoder.try_decode_get_attr

    def stopped(*given):
        signal.raise_signal(signal.SIGINT)
        return decode(*given)

    monkeypatch.setattr(TorchScriptPythonDecoder, "try_decode_get_attr", stopped)
    with pytest.raises(KeyboardInterrupt):
        convert(checkpoint_folder, tmp_path / "bundle", "openvino:fp32")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_and_so_does_a_thread():
    with pytest.raises(ValueError, match="mine"), stops_come_through():
        raise ValueError("mine")
    done = []

    def work() -> None:
        with stops_come_through():
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]
