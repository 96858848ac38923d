"""Real servers for tests of remotes, each behind a line that can be cut or go dead."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

Settings = dict[str, str]
REGION = "us-east-1"


class Line:
    """Carries bytes between clients and a server: whole, cut after so many, or none."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.mend()
        threading.Thread(target=self._accept, daemon=True).start()

    def mend(self) -> None:
        self.dead = False
        self.left: dict[str, float] = {"up": float("inf"), "down": float("inf")}

    def cut_after(self, count: int, way: str) -> None:
        """Every connection breaks once so many bytes went up (or down) in all."""
        self.left[way] = count

    def go_dead(self) -> None:
        """Connections stay open, and nothing arrives any more."""
        self.dead = True

    def close(self) -> None:
        for connection in (self._listener, *self._open):
            _shut(connection)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                for way in ((client, server, "up"), (server, client, "down")):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, source: socket.socket, to: socket.socket, way: str) -> None:
        with suppress(OSError):
            while block := source.recv(4096):
                if self.dead:
                    continue
                self.left[way] -= len(block)
                if self.left[way] < 0:
                    break
                to.sendall(block)
        _shut(source)
        _shut(to)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@dataclass
class Lab:
    """A remote of one kind: how it is added, and what is really in it."""

    kind: str
    address: str
    settings: Settings = field(default_factory=dict)
    """committed"""
    secrets: Settings = field(default_factory=dict)
    """what `dvc remote modify --local` is given"""
    wrong: Settings = field(default_factory=dict)
    """secrets that the server refuses"""
    home: Path = Path("/nonexistent")
    """a home folder that knows the server's hosts"""
    line: Line | None = None
    folder: Path | None = None
    """where the server keeps its files, if in files"""
    s3: Any = None
    """a client of the server itself, if it keeps them in memory"""

    def names(self) -> list[str]:
        """All that it holds, temporary files included."""
        if self.folder:
            files = (p for p in self.folder.rglob("*") if p.is_file())
            return sorted(str(p.relative_to(self.folder)) for p in files)
        found = self.s3.list_objects_v2(Bucket="lab").get("Contents", [])
        return sorted(item["Key"].removeprefix("pins/") for item in found)

    def read(self, digest: str) -> bytes:
        if self.folder:
            return (self.folder / name(digest)).read_bytes()
        return self.s3.get_object(Bucket="lab", Key=f"pins/{name(digest)}")["Body"].read()

    def write(self, digest: str, content: bytes) -> None:
        self.remove(digest)
        if self.folder:
            (self.folder / name(digest)).write_bytes(content)
        else:
            self.s3.put_object(Bucket="lab", Key=f"pins/{name(digest)}", Body=content)

    def remove(self, digest: str) -> None:
        if self.folder:
            (self.folder / name(digest)).unlink(missing_ok=True)
        else:
            self.s3.delete_object(Bucket="lab", Key=f"pins/{name(digest)}")


def name(digest: str) -> str:
    """Of an object inside a remote, as DVC has it."""
    return f"files/md5/{digest[:2]}/{digest[2:]}"


@contextmanager
def folder(base: Path) -> Iterator[Lab]:
    """A folder, such as one of a network drive: no server of ours."""
    yield Lab("folder", str(base / "drive"), folder=base / "drive")


@contextmanager
def ssh(base: Path) -> Iterator[Lab]:
    """OpenSSH, with keys and known hosts of its own."""
    sshd = _program("sshd")
    for key in ("host", "right", "wrong"):
        _done("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / key))
    shutil.copy(base / "right.pub", base / "authorized_keys")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it confines its children
    port = _free_port()
    (base / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {base}/host\n"
        f"AuthorizedKeysFile {base}/authorized_keys\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    with (
        _running(base, sshd, "-D", "-e", "-f", str(base / "sshd_config")),
        _line(port) as line,
    ):
        home = base / "home"
        (home / ".ssh").mkdir(parents=True)
        key = (base / "host.pub").read_text()
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{line.port} {key}")
        yield Lab(
            "ssh",
            f"ssh://{getpass.getuser()}@127.0.0.1:{line.port}{base}/pins",
            secrets={"keyfile": str(base / "right")},
            wrong={"keyfile": str(base / "wrong")},
            home=home,
            line=line,
            folder=base / "pins",
        )


@contextmanager
def s3(base: Path) -> Iterator[Lab]:
    """Moto, from the package registry: S3 over HTTP, in memory, which checks signatures."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    port = _free_port()
    moto = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    # The three calls that make a user need no signature; all after them do.
    with _running(base, *moto, INITIAL_NO_AUTH_ACTION_COUNT="3"), _line(port) as line:
        keys, client = _s3_user(f"http://127.0.0.1:{port}")
        yield Lab(
            "s3",
            "s3://lab/pins",
            settings={"endpointurl": f"http://127.0.0.1:{line.port}", "region": REGION},
            secrets=keys,
            wrong=keys | {"secret_access_key": "wrong"},
            line=line,
            s3=client,
        )


def _s3_user(address: str) -> tuple[Settings, Any]:
    """A user of a bucket: the keys, and a client of its own."""
    import boto3

    keys = {"access_key_id": "nobody", "secret_access_key": "none"}

    def client(service: str) -> Any:
        named = {f"aws_{key}": value for key, value in keys.items()}
        return boto3.client(service, endpoint_url=address, region_name=REGION, **named)

    iam = client("iam")
    iam.create_user(UserName="me")
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="me", PolicyName="pins", PolicyDocument=policy)
    made = iam.create_access_key(UserName="me")["AccessKey"]
    keys = {
        "access_key_id": made["AccessKeyId"],
        "secret_access_key": made["SecretAccessKey"],
    }
    client("s3").create_bucket(Bucket="lab")
    return keys, client("s3")


@contextmanager
def webdav(base: Path) -> Iterator[Lab]:
    """`rclone serve webdav`, with a user and a password."""
    rclone = _program("rclone")
    (base / "drive" / "pins").mkdir(parents=True)  # WebDAV makes no folder for its root
    port, word = _free_port(), token_hex()
    options = ["--addr", f"127.0.0.1:{port}", "--user", "me", "--pass", word]
    options += ["--dir-cache-time", "1ms"]  # tests change its files behind its back
    running = _running(base, rclone, "serve", "webdav", str(base / "drive"), *options)
    with running, _line(port) as line:
        yield Lab(
            "webdav",
            f"webdav://127.0.0.1:{line.port}/pins",
            secrets={"user": "me", "password": word},
            wrong={"user": "me", "password": "wrong-word"},
            line=line,
            folder=base / "drive" / "pins",
        )


KINDS: dict[str, Callable[[Path], AbstractContextManager[Lab]]] = {
    made.__name__: made for made in (folder, ssh, s3, webdav)
}


def _program(name: str) -> str:
    """Of Debian; sshd is to be called by its full name."""
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if not found:
        pytest.skip(f"the program {name} is not installed")
    return found


def _done(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _running(base: Path, *command: str, **environment: str) -> Iterator[None]:
    with open(base / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            server.kill()
            server.wait()


@contextmanager
def _line(port: int) -> Iterator[Line]:
    """A line to a server, once that answers."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
    line = Line(port)
    try:
        yield line
    finally:
        line.close()
