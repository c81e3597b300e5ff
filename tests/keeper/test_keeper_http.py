"""A keeper over HTTP gives the same bytes as in process, and bounds whatever a stranger sends."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from consent.keeper import http as keeper_http
from consent.keeper.client import release, revoke_everywhere
from consent.keeper.limits import Limits
from consent.keeper.node import LIMITS, Keeper
from consent.keeper.remote import HttpPort, check_endpoint
from consent.keeper.revocation import Revoke, RevokeAll, write_revocation
from consent.keeper.wire import MEDIA_TYPE, read_reply, sign, write
from core import listening
from core.encoding import decode_cbor
from core.errors import Busy, InvalidInput, Refused, Unavailable
from core.limits import MAX_KEYS, Buckets, Rate, key_of

PATIENT = 60


@contextmanager
def served(keeper: Keeper, **settings: Any) -> Iterator[str]:
    behind = settings.pop("behind_proxy", False)
    with keeper_http.serving(
        keeper, listening.listen("127.0.0.1", 0), limits=Limits(**settings), behind_proxy=behind
    ) as url:
        yield url


@pytest.fixture
def url(world: Any) -> Iterator[str]:
    with served(world.keepers[0]) as url:
        yield url


def raw(url: str, data: bytes = b"") -> socket.socket:
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname, place.port), timeout=PATIENT)
    connection.sendall(data)
    return connection


LIVEZ = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


def lives(connection: socket.socket) -> bool:
    """Whether the server says on this connection, which stays open, that it lives."""
    received = b""
    connection.sendall(LIVEZ)
    while not received.endswith(b"ok\n"):
        part = connection.recv(65536)
        if not part:
            return False
        received += part
    return received.startswith(b"HTTP/1.1 200 ")


def until_closed(connection: socket.socket) -> bytes:
    """Everything that comes until the other side closes; a reset counts as closing."""
    received = b""
    with connection:
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
    return received


def post(url: str, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENT)
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def test_a_release_over_http_is_what_it_is_in_process(world: Any) -> None:
    with ExitStack() as stack:
        ports = {
            index: stack.enter_context(closing_port(stack.enter_context(served(keeper))))
            for index, keeper in enumerate(world.keepers, start=1)
        }
        found = release(ports, world.committee, world.place.consent_token, world.request(), world.runner, world.check())
    assert sorted(found.shares) == world.datasets["ada"].ids
    assert [receipt.keeper for receipt in found.receipts] == [1, 2]


@contextmanager
def closing_port(url: str, **settings: Any) -> Iterator[HttpPort]:
    port = HttpPort(url, **settings)
    yield port
    port.close()


def test_every_path_gives_the_bytes_that_the_keeper_gives(world: Any, url: str) -> None:
    from consent.keeper.trees import write_job_query

    requests = [("tree", write_job_query(world.order.job_id)), ("log", write("log", first=0, count=10))]
    requests += [
        ("revoke", b"\xff"),
        ("ledger", b""),
        ("settlement", b"nonsense"),
        ("release", world.request().body(1)),
    ]
    with closing_port(url) as port:
        for path, body in requests:
            assert port.call(path, body) == world.keepers[0].handle(path, body)


def test_it_says_that_it_lives_and_who_it_is(world: Any, url: str) -> None:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENT)
    connection.request("GET", "/livez")
    assert connection.getresponse().read() == b"ok\n"
    connection.request("GET", "/service")
    response = connection.getresponse()
    assert response.getheader("content-type") == MEDIA_TYPE
    assert decode_cbor(response.read())
    connection.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "slug"),
    [
        ("/release", b"garbage", 422, "invalid-input"),
        ("/release", b"", 422, "invalid-input"),
        ("/nothing", b"", 404, "not-found"),
        ("/a/b", b"", 404, "not-found"),
        ("/livez", b"", 404, "not-found"),
        ("/service", write("servant"), 422, "invalid-input"),
        ("/tree", write("tree_of", job=bytes(32)), 404, "not-found"),
    ],
)
def test_an_error_has_its_status_and_the_keepers_own_form(
    url: str, path: str, body: bytes, status: int, slug: str
) -> None:
    got, headers, reply = post(url, path, body)
    assert (got, headers["content-type"]) == (status, MEDIA_TYPE)
    assert decode_cbor(reply)["error"] == slug
    assert b"Traceback" not in reply


def test_the_log_tells_of_requests_and_nothing_that_a_stranger_wrote(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="allod.keeper")
    with served(world.keepers[0], behind_proxy=True) as url:
        post(url, "/log", b"the body is secret", **{"x-forwarded-for": "203.0.113.5"})
        post(url, "/%0aINFO%20forged", b"", **{"x-forwarded-for": "\x1b[2J"})
    lines = [record.getMessage() for record in caplog.records if record.name == "allod.keeper"]
    assert lines[0].startswith("203.0.113.5 POST log 422 ")
    assert lines[1].startswith("? POST ? 404 ")
    assert "secret" not in caplog.text
    assert "forged" not in caplog.text


def test_a_path_is_posted_to(url: str) -> None:
    answer = until_closed(raw(url, b"GET /release HTTP/1.1\r\nhost: x\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"allow: POST" in answer


def test_a_keeper_that_fails_inside_says_no_more_than_that(
    world: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(world.keepers[0]._station.store, "head", fail)
    status, _, reply = post(url, "/service", b"")
    assert status == 500
    assert decode_cbor(reply)["reason"] == "The keeper failed; nothing was released."
    assert b"42" not in reply


@pytest.mark.parametrize("path", sorted(LIMITS))
def test_a_body_beyond_its_paths_limit_is_refused_before_it_is_sent(url: str, path: str) -> None:
    head = f"POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {LIMITS[path] + 1}\r\n\r\n"
    answer = until_closed(raw(url, head.encode()))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_a_body_of_no_stated_length_is_cut_off_at_the_limit(url: str) -> None:
    chunk = b"800\r\n" + bytes(2048) + b"\r\n"
    connection = raw(url, b"POST /log HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk)
    assert until_closed(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "abc"])
def test_a_nonsensical_length_is_refused(url: str, length: str) -> None:
    head = f"POST /log HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    assert until_closed(raw(url, head.encode()))[9:12] in (b"400", b"413")


def test_a_slow_body_is_given_up(world: Any) -> None:
    with served(world.keepers[0], body=0.2) as url:
        connection = raw(url, b"POST /release HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nslow")
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 seconds" in answer


@pytest.mark.parametrize("begun", [b"", b"POST /release HT", b"POST /release HTTP/1.1\r\nhost: x\r\n"])
def test_a_header_that_never_ends_is_cut_off(world: Any, begun: bytes) -> None:
    with served(world.keepers[0], header=0.2) as url:
        assert until_closed(raw(url, begun)) == b""


def test_a_second_request_on_the_line_has_a_deadline_too(world: Any) -> None:
    with served(world.keepers[0], header=3, idle=1) as url:
        connection = raw(url)
        assert lives(connection)
        connection.sendall(b"GET /li")
        until_closed(connection)


def test_a_header_without_end_is_no_way_to_fill_memory(url: str) -> None:
    connection = raw(url, b"GET /livez HTTP/1.1\r\nx: " + b"a" * (64 << 10))
    assert until_closed(connection)[9:12] in (b"400", b"431", b"")


def test_bytes_that_are_no_http_get_no_more_than_a_refusal(url: str) -> None:
    assert until_closed(raw(url, bytes(range(256)) + b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


def test_too_many_connections_of_one_client_are_turned_away_and_the_others_live(world: Any) -> None:
    with served(world.keepers[0], connections_of_one=2) as url, ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(raw(url))
            assert lives(connection)
        turned_away = until_closed(raw(url))
        assert turned_away.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5" in turned_away
        assert lives(connection)


def test_too_many_connections_of_all_are_turned_away(world: Any) -> None:
    with served(world.keepers[0], connections=1) as url, raw(url) as first:
        assert lives(first)
        assert until_closed(raw(url)).startswith(b"HTTP/1.1 503 ")


def held_back(world: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The first keeper answers nothing before the second event is set; the first one tells that it was asked."""
    begun, go_on = threading.Event(), threading.Event()
    answer = world.keepers[0].answer

    def slow(path: str, body: bytes) -> Any:
        begun.set()
        assert go_on.wait(PATIENT)
        return answer(path, body)

    monkeypatch.setattr(world.keepers[0], "answer", slow)
    return begun, go_on


def test_more_work_than_a_keeper_does_at_once_is_put_off(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = held_back(world, monkeypatch)
    with served(world.keepers[0], working=1) as url:
        first = raw(url, b"GET /service HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert begun.wait(PATIENT)
        status, headers, reply = post(url, "/service", b"")
        assert (status, headers["retry-after"], decode_cbor(reply)["error"]) == (503, "2", "unavailable")
        monkeypatch.undo()
        assert post(url, "/revoke", b"")[0] == 422  # a revocation does not wait for anything else
        go_on.set()
        assert until_closed(first).startswith(b"HTTP/1.1 200 ")


def test_one_client_leaves_room_for_others(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = held_back(world, monkeypatch)
    with served(world.keepers[0], working=2, working_of_one=1) as url:
        first = raw(url, b"GET /service HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert begun.wait(PATIENT)
        assert post(url, "/service", b"")[0] == 503
        go_on.set()
        assert until_closed(first).startswith(b"HTTP/1.1 200 ")
        monkeypatch.undo()
        assert post(url, "/service", b"")[0] == 200


def test_bodies_in_memory_are_bounded_together(world: Any) -> None:
    with served(world.keepers[0], buffered=1000) as url:
        assert post(url, "/release", bytes(1001))[0] == 503
        assert post(url, "/release", bytes(1000))[0] == 422


def test_what_is_in_flight_is_finished_when_the_server_stops(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = held_back(world, monkeypatch)
    with served(world.keepers[0]) as url:
        connection = raw(url, b"GET /service HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert begun.wait(PATIENT)
        threading.Timer(0.3, go_on.set).start()
    assert until_closed(connection).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ConnectionRefusedError):
        raw(url)


def test_a_server_that_ends_by_itself_ends_its_process(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    end = threading.Event()

    async def main_loop(server: Any) -> None:
        while not end.is_set():
            await asyncio.sleep(0.01)

    monkeypatch.setattr(listening._Server, "main_loop", main_loop)
    try:
        with served(world.keepers[0]):
            end.set()
            assert told.wait(PATIENT)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_client_that_asks_too_often_is_told_when_to_come_back(world: Any) -> None:
    with served(world.keepers[0], rates={"log": Rate(0.001, 2), "service": Rate(9, 9)}) as url:
        query = write("log", first=0, count=1)
        assert [post(url, "/log", query)[0] for _ in range(3)] == [200, 200, 429]
        status, headers, reply = post(url, "/log", query)
        assert 1 <= int(headers["retry-after"]) <= 1001
        assert (status, decode_cbor(reply)["error"]) == (429, "unavailable")
        assert post(url, "/service", b"")[0] == 200


def test_a_client_that_asks_too_often_waits_as_long_as_its_time_allows(world: Any) -> None:
    with served(world.keepers[0], rates={"log": Rate(2, 1)}) as url, closing_port(url) as port:
        replies = [port.call("log", write("log", first=0, count=1)) for _ in range(2)]
        assert all("entries" in decode_cbor(reply) for reply in replies)
    with served(world.keepers[0], rates={"log": Rate(0.01, 1)}) as url, closing_port(url, timeout=PATIENT) as port:
        port.call("log", write("log", first=0, count=1))
        with pytest.raises(Unavailable, match="asked too often"):
            read_reply(port.call("log", write("log", first=0, count=1)), (), "The log")


def test_clients_behind_a_proxy_are_told_apart_only_where_the_operator_says_so(world: Any) -> None:
    rates = {"log": Rate(0.01, 1)}
    query = write("log", first=0, count=1)
    for behind, expected in ((False, [200, 429]), (True, [200, 200])):
        with served(world.keepers[0], rates=rates, behind_proxy=behind) as url:
            statuses = [post(url, "/log", query, **{"x-forwarded-for": f"203.0.113.{number}"})[0] for number in (1, 2)]
        assert statuses == expected


def test_one_owner_cannot_make_a_keeper_store_without_end(world: Any) -> None:
    """Nor can strangers: each owner has its own bucket, and each client address has one for all that it sends."""
    world.stop_keepers()
    keeper = Keeper(world.folder / "1", world.chain, world.place, signers=Buckets(Rate(0.001, 100)))
    world.keepers.append(keeper)
    place = world.place.chain_id, world.place.consent_token

    def store(who: Any, number: int) -> bytes:
        message = Revoke(who.address, (bytes([number]) * 32,))  # type: ignore[arg-type]
        return keeper.handle("revoke", sign(write_revocation(message), who.sign_hash(message.digest(*place))))

    fields = ("message", "seen", "sig")
    for number in (1, 2):
        read_reply(store(world.stranger, number), fields, "The reply")
    with pytest.raises(Unavailable, match="asked too often"):
        read_reply(store(world.stranger, 3), fields, "The reply")
    read_reply(store(world.stranger, 1), fields, "a message that is stored already costs nothing")
    read_reply(store(world.trainer, 3), fields, "another owner has room")


def test_an_unsigned_request_and_one_of_another_signer_store_nothing(world: Any, url: str) -> None:
    owner, place = world.datasets["ada"].owner, (world.place.chain_id, world.place.consent_token)
    message = RevokeAll(owner.address, 0)
    with closing_port(url) as port:
        for signature in (b"", bytes(65), world.stranger.sign_hash(message.digest(*place))):
            with pytest.raises(Refused, match="not signed by the owner"):
                read_reply(port.call("revoke", sign(write_revocation(message), signature)), (), "The reply")
        body = world.request().body(1)
        for signature in (b"", world.stranger.sign_hash(bytes(32))):
            with pytest.raises(Refused, match="not signed by the job's runner"):
                read_reply(port.call("release", sign(body, signature)), (), "The reply")
    assert world.keepers[0]._station.store.head()[0] == 0


def test_a_request_replayed_at_another_keeper_gives_nothing(world: Any, url: str) -> None:
    from consent.keeper.request import release_digest

    body = world.request().body(2)
    digest = release_digest(world.order, world.consent_id(), 2, body)
    with closing_port(url) as port, pytest.raises(Refused, match="is for keeper 2"):
        read_reply(port.call("release", sign(body, world.runner.sign_hash(digest))), (), "The reply")


def test_a_request_replayed_at_its_keeper_gives_shares_that_open_for_the_job_alone(world: Any, url: str) -> None:
    from consent.keeper.request import release_digest

    body = world.request().body(1)
    data = sign(body, world.runner.sign_hash(release_digest(world.order, world.consent_id(), 1, body)))
    with closing_port(url) as port:
        for _ in range(2):
            reply = read_reply(port.call("release", data), ("shares", "receipt"), "The reply")
            for object_id, sealed in zip(world.datasets["ada"].ids, reply["shares"], strict=True):
                world.open("ada", object_id, 1, sealed)
    assert world.keepers[0]._station.store.head()[0] == 2


def test_many_requests_at_once_leave_one_whole_log(world: Any, url: str) -> None:
    from consent.keeper.client import read_log

    place = world.place.chain_id, world.place.consent_token
    failures = []

    def work(number: int) -> None:
        try:
            with closing_port(url) as port:
                message = RevokeAll(world.stranger.address, number)
                done = revoke_everywhere(
                    {1: port}, world.committee, *place, message, world.stranger.sign_hash(message.digest(*place))
                )
                assert done.stored == (1,), done.reasons
                release({1: port}, replace_t(world.committee), place[1], world.request(), world.runner, world.check())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT)
    assert not failures
    with closing_port(url) as port:
        kinds = [entry.kind for entry in read_log(port)]
    assert sorted(kinds) == ["release"] * 8 + ["revocation"] * 8


def replace_t(committee: Any) -> Any:
    """The same document, read by a client that needs one share only."""

    class OfOne:
        id, t, q, n, addresses = committee.id, 1, committee.q, committee.n, committee.addresses

    return OfOne


def test_a_taken_port_is_named(world: Any, url: str) -> None:
    with pytest.raises(Busy, match=str(urlsplit(url).port)):
        listening.listen("127.0.0.1", urlsplit(url).port or 0)


def test_buckets_fill_again_and_forget_in_the_end() -> None:
    now = [0.0]
    buckets = Buckets(Rate(2, 4), clock=lambda: now[0], size=3)
    for _ in range(4):
        buckets.take(b"a")
    with pytest.raises(Unavailable) as caught:
        buckets.take(b"a")
    assert caught.value.detail["retry_after"] == 1
    now[0] = 0.5
    buckets.take(b"a")
    with pytest.raises(Unavailable):
        buckets.take(b"a")
    for key in (b"b", b"c", b"d"):
        buckets.take(key)
    assert len(buckets._levels) == 3
    assert MAX_KEYS < 1 << 20


def test_a_client_is_an_ipv4_address_or_a_network_of_ipv6() -> None:
    assert key_of("203.0.113.9") == key_of("::ffff:203.0.113.9") == bytes([203, 0, 113, 9])
    assert key_of("2001:db8::1") == key_of("2001:db8::ffff:1") != key_of("2001:db8:0:1::1")
    assert key_of("fe80::1%eth0") == key_of("fe80::2")
    assert key_of("not an address") == key_of("")


class Impostor:
    """A server that answers every request with the same bytes."""

    def __init__(self, answer: bytes, *, hang: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.served = 0
        self._hang = threading.Event()
        self._answer = answer
        if not hang:
            self._hang.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(1 << 20)
                    self.served += 1
                    connection.sendall(self._answer)
                    self._hang.wait(PATIENT)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1 << 20):
                        pass
                except OSError:
                    pass

    def __enter__(self) -> Impostor:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENT)


OK = f"HTTP/1.1 200 OK\r\ncontent-type: {MEDIA_TYPE}\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "HTTP 502"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer"),
        (b"", "does not answer"),
        (OK + b"content-length: 9\r\n\r\nshort", "does not answer"),
        (OK + b"content-length: 3000000\r\n\r\n" + bytes(3000000), "more than"),
        (OK + b"transfer-encoding: chunked\r\n\r\n" + 50 * (b"10000\r\n" + bytes(65536) + b"\r\n"), "more than"),
    ],
)
def test_what_does_not_answer_as_a_keeper_does_is_unavailable(answer: bytes, words: str) -> None:
    with Impostor(answer) as impostor, closing_port(impostor.url) as port, pytest.raises(Unavailable, match=words):
        port.call("log", b"x")


def test_a_keeper_that_hangs_costs_no_more_than_the_time_given(world: Any) -> None:
    for begun in (b"", OK + b"content-length: 5\r\n\r\n1"):
        with (
            Impostor(begun, hang=True) as impostor,
            closing_port(impostor.url, timeout=0.3) as port,
            pytest.raises(Unavailable),
        ):
            port.call("log", b"x")


def test_a_keeper_that_always_says_at_once_again_is_not_hammered() -> None:
    refusal = b"HTTP/1.1 429 Too Many\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with Impostor(refusal) as impostor, closing_port(impostor.url, timeout=2.5) as port:
        with pytest.raises(Unavailable, match="HTTP 429"):
            port.call("log", b"x")
        assert 1 <= impostor.served <= 3


def test_nobody_at_the_door_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with closing_port(f"http://127.0.0.1:{free}") as port, pytest.raises(Unavailable, match="ConnectError"):
        port.call("log", b"x")


@pytest.mark.parametrize(
    "endpoint",
    ["", "local:1", "ftp://x", "http://", "http://u:p@x", "http://x?a=b", "http://x#f", "http://x:0", "http://x:99999"],
)
def test_an_endpoint_is_a_plain_http_address(endpoint: str) -> None:
    with pytest.raises(InvalidInput, match="no address of a keeper"):
        check_endpoint(endpoint)
    assert check_endpoint("https://keeper.example/allod/") == "https://keeper.example/allod/"


def test_limits_name_every_path_that_a_keeper_has() -> None:
    assert set(Limits().rates) == set(LIMITS)
