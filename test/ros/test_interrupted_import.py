"""An interruption inside a class body: up to Python 3.11 it comes out as another exception."""

from __future__ import annotations

import gc

import pytest

from mono_depth_ros.ros import depth_process


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    for name in ("raise_on_first_signal", "ignore_signals", "use_large_message_profile"):
        monkeypatch.setattr(depth_process, name, lambda: None)
    yield
    gc.unfreeze()


def starting_with(monkeypatch, error: BaseException) -> None:
    def start(args, load_predictor, node_class):
        raise error

    monkeypatch.setattr(depth_process, "_start_rclpy", start)


def test_a_wrapped_interruption_ends_the_node_like_any(monkeypatch):
    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    starting_with(monkeypatch, wrapped)
    assert depth_process.run_node([]) == 0


def test_other_runtime_errors_stay_errors(monkeypatch):
    starting_with(monkeypatch, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        depth_process.run_node([])
