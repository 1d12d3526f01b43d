from __future__ import annotations

import base64
import contextlib
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bioprobe.errors import MisuseError
from bioprobe.watching.alerts import Attempt, Command, Delivery, Webhook
from bioprobe.watching.ledger import Due, Ledger, Sighting

posix = pytest.mark.skipif(sys.platform == "win32", reason="begins a shell of POSIX")

# Every sign that a shell or a format reads as its own.
EVIL = "-x '\"; $(touch owned) `touch owned` {score} | & \\ \n ü.jpg"
TOLD = {"alert": "Panthera pardus", "score": 0.97, "over": 0.9, "file": EVIL, "time": ""}


def _due(**told: Any) -> Due:  # noqa: ANN401 - whatever is told
    return Due("0f-1", "command", {**TOLD, **told}, 0)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a command that writes down all that it is told, one line of JSON a run."""
    file = tmp_path / "script.py"
    file.write_text(
        "import json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('BIOPROBE_ALERT_')}\n"
        "said = {'argv': sys.argv[1:], 'stdin': json.load(sys.stdin), 'env': told}\n"
        f"open({str(tmp_path / 'told')!r}, 'a').write(json.dumps(said) + '\\n')\n"
    )
    return file


@posix
def test_a_command_is_told_by_arguments_variables_and_json_and_no_shell_reads_them(
    tmp_path: Path, script: Path
) -> None:
    line = f"{sys.executable} -S '{script}' \"{{file}}\" 'a {{alert}}: {{score}}{{time}}'"
    command = Command(line, tmp_path / "runs")
    assert command.deliver(_due()).problem == ""
    told = json.loads((tmp_path / "told").read_text())
    assert told["argv"] == [EVIL, "a Panthera pardus: 0.97"]
    assert told["stdin"] == TOLD
    assert told["env"]["BIOPROBE_ALERT_FILE"] == EVIL
    assert not (tmp_path / "owned").exists()
    command.forget(_due())
    assert not (tmp_path / "runs").exists()


@posix
def test_a_command_that_was_begun_before_is_waited_for_and_not_begun_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "told"
    command = Command(f"/bin/sh -c 'sleep 0.3; echo x >> {file}; exit 3'", tmp_path / "runs")
    first = threading.Thread(target=command.deliver, args=(_due(),))
    first.start()
    while not list(tmp_path.glob("runs/*.log")):
        time.sleep(0.01)
    # As the next watch does, whose own lock is another.
    assert command.deliver(_due()).problem == "the command ended with 3"
    first.join()
    assert file.read_text() == "x\n"


@posix
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/bin/sh -c 'echo so; echo why >&2; exit 4'", "the command ended with 4 (why)"),
        ("/bin/sh -c 'kill -9 $PPID; sleep 0.1'", "the command ended with nothing, as it was"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path: Path, line: str, problem: str) -> None:
    assert Command(line, tmp_path / "runs").deliver(_due()).problem.startswith(problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("no-such-program-here {file}", "no program that can be run"),
        ("echo {files}", r"\{files\}, which stands for nothing"),
        ("echo 'x", "cannot be split"),
        ("", "no program"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(MisuseError, match=problem):
        Command(line, tmp_path)


class _Receiver(ThreadingHTTPServer):
    """Answers with one status after the other, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.logins: list[str | None] = []
        self.body: Iterable[bytes] = ()


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.logins.append(self.headers["Authorization"])
        self.server.sent.append((self.headers["Idempotency-Key"], json.loads(body)))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Retry-After", "7")
        self.send_header("Location", "/other")
        self.end_headers()
        with contextlib.suppress(OSError):
            for part in self.server.body:
                self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    server = _Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_tried_until_it_answers_with_the_same_key(
    tmp_path: Path, receiver: _Receiver
) -> None:
    receiver.statuses = [503, 302]
    said: list[str] = []
    now_s = [100.0]
    ledger = Ledger(tmp_path)
    url = f"http://me:secret%21@127.0.0.1:{receiver.server_port}/hook?key=secret"
    with ledger.change():
        ledger.sight(Sighting("north", 0, {"lion": {**TOLD, "place": "ä"}}), ["webhook"], 60, 100)
    delivery = Delivery(ledger, {"webhook": Webhook(url)}, said.append, lambda: now_s[0])
    assert len(delivery.deliver_due()) == 1
    assert len(delivery.deliver_due()) == 0  # not before the time that the receiver says
    now_s[0] += 7
    assert len(delivery.deliver_due()) == 1
    now_s[0] += 7
    assert len(delivery.deliver_due()) == 0
    assert (delivery.n_done, ledger.count_waiting(["webhook"])) == (1, 0)
    ledger.close()
    keys, told = zip(*receiver.sent, strict=True)
    assert len(keys) == 3
    login = base64.b64encode(b"me:secret!").decode()
    assert set(receiver.logins) == {f"Basic {login}"}
    assert set(keys) == {told[0]["id"]}
    assert (told[0]["place"], told[0]["file"]) == ("ä", EVIL)
    assert "127.0.0.1 answers 503 Service Unavailable; tried 1 times, again in 7 s" in said[0]
    assert "answers 302 Found elsewhere" in said[1]
    assert "secret" not in "".join(said)


class _Slow:
    """Is told, or fails, only when it is let."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def deliver(self, _: Due) -> Attempt:
        self.may.wait(20)
        return Attempt()

    def forget(self, _: Due) -> None:
        pass


def test_one_who_does_not_answer_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    ledger, slow, quick = Ledger(tmp_path), _Slow(), _Slow()
    quick.may.set()
    with ledger.change():
        ledger.sight(Sighting("north", 0, {"lion": TOLD}), ["webhook", "command"], 60, 0)
    delivery = Delivery(ledger, {"webhook": slow, "command": quick}, print)
    delivery.start()
    deadline_s = time.monotonic() + 20
    while ledger.count_waiting(["command"]) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert (delivery.n_done, ledger.count_waiting(["webhook"])) == (1, 1)
    slow.may.set()
    delivery.stop()
    assert (delivery.n_done, ledger.count_waiting(["webhook"])) == (2, 0)
    ledger.close()


def test_an_alert_waits_no_longer_where_the_clock_is_set_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.change():
        ledger.sight(Sighting("north", 0, {"lion": TOLD}), ["command"], 60, 1e9)
    (due,) = ledger.list_due(1e9, ["command"])
    ledger.postpone_alert(due.id, 1e9 + 600)
    assert not ledger.list_due(1e9 + 1, ["command"])
    assert ledger.list_due(1e8, ["command"])
    ledger.close()


def test_an_answer_without_an_end_is_an_answer(receiver: _Receiver) -> None:
    receiver.body = itertools.repeat(b"x" * 1000)
    url = f"http://127.0.0.1:{receiver.server_port}"
    assert not Webhook(url).deliver(_due()).problem


def test_an_address_that_is_away_is_a_failure(tmp_path: Path) -> None:
    attempt = Webhook("http://127.0.0.1:1/?key=secret").deliver(_due())
    assert attempt.problem.startswith("127.0.0.1 could not be reached")
    assert "secret" not in attempt.problem
    with pytest.raises(MisuseError, match="begins with http"):
        Webhook("ftp://example.org")
    assert not list(tmp_path.iterdir())
