"""Deeds of random values and what Python makes of them: the page has to make, sign and refuse the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

from consent.addresses import read_address, write_address
from consent.chain.account import SECP256K1_ORDER, Account, recover
from consent.chain.wallet import personal_digest
from consent.committee import Committee
from consent.grant import Consent, nonce_of
from consent.market.publication import asset_of
from consent.money import format_units, parse_units, unit_decimals
from consent.order import Order
from consent.purposes import PURPOSES
from consent.recipe import Recipe
from consent.terms import Counts, Terms, allows, price, quote
from consent.tree import Leaf, SumTree
from consent.typed import keccak, register_digest, revoke_all_digest, revoke_digest, revoke_nonces_digest
from core.encoding import decode_cbor, decode_json, encode_cbor, encode_json, from_hex, to_hex
from core.errors import Corrupted, InvalidInput
from core.ids import NOBODY, Address, Asset, ConsentId

Case = dict[str, Any]


class Cases:
    """Cases by name; what Python refuses has no `expected`."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def add(self, act: str, given: Any, make: Callable[[], Any]) -> None:
        case = {"name": f"{act} {len(self.all)}", "act": act, "given": given}
        with suppress(InvalidInput, Corrupted):
            case["expected"] = make()
        self.all.append(case)

    def accepted(self, act: str) -> int:
        return sum(case["act"] == act and "expected" in case for case in self.all)

    def refused(self, act: str) -> int:
        return sum(case["act"] == act and "expected" not in case for case in self.all)


def edge(rng: random.Random, bits: int) -> int:
    """A number of at most so many bits, often at an edge."""
    top = 2**bits - 1
    return rng.choice((0, 1, top, top - 1, 2 ** rng.randrange(bits), rng.getrandbits(bits)))


def octets(rng: random.Random, length: int) -> bytes:
    return rng.choice((rng.randbytes(length), rng.randbytes(length), bytes(length), b"\xff" * length))


def account(rng: random.Random) -> Account:
    key = rng.choice((1, SECP256K1_ORDER - 1, rng.randrange(1, SECP256K1_ORDER)))
    return Account(key.to_bytes(32, "big"))


def consent(rng: random.Random, owner: Address) -> Consent:
    begins = edge(rng, 39)
    return Consent(
        owner=owner,
        grantee=Address(octets(rng, 20)),
        asset=Asset(octets(rng, 32)),
        terms=octets(rng, 32),
        purpose=rng.choice(PURPOSES).hash,
        runner=Address(octets(rng, 20)),
        escrow=Address(rng.randbytes(20)),
        not_before=begins,
        expiry=begins + rng.randrange(1, 2**39),
        max_uses=edge(rng, 16),
        nonce=nonce_of(edge(rng, 32), edge(rng, 56), edge(rng, 8)),
    )


def fields(told: Consent) -> dict[str, Any]:
    names = ("owner", "grantee", "asset", "terms", "purpose", "runner", "escrow")
    hexes = {name: to_hex(getattr(told, name)) for name in names}
    times = {"not_before": told.not_before, "expiry": told.expiry, "max_uses": told.max_uses}
    return {**hexes, **times, "nonce": str(told.nonce)}


def signings(cases: Cases, count: int) -> None:
    """Consents and their endings, registrations: digest, id, signature."""
    for number in range(count):
        rng = random.Random(f"signing {number}")
        signer = account(rng)
        key = signer._key.secret
        chain_id, token, registry = edge(rng, 53), Address(octets(rng, 20)), Address(octets(rng, 20))
        place = {
            "chainId": chain_id,
            "consentToken": to_hex(token),
            "registry": to_hex(registry),
            "escrow": to_hex(token),
        }
        given: Case = {"key": to_hex(key), "place": place}

        def signed(digest: bytes, signer: Account = signer) -> list[str]:
            return [to_hex(digest), to_hex(signer.sign_hash(digest))]

        one = consent(rng, signer.address)
        taker = Address(rng.randbytes(20)) if one.is_offer else one.grantee
        cases.add(
            "consent",
            {**given, "fields": fields(one), "holders": [to_hex(taker)]},
            lambda one=one, taker=taker, chain_id=chain_id, token=token, signed=signed: [
                to_hex(one.encode()), to_hex(one.id(chain_id, token, taker)), *signed(one.digest(chain_id, token))
            ],
        )  # fmt: skip
        header, terms = rng.randbytes(rng.randrange(1, 300)), octets(rng, 32)
        register = {**given, "header": to_hex(header), "terms": to_hex(terms)}
        digest = register_digest(chain_id, registry, signer.address, sha256(header).digest(), terms)
        cases.add("register", register, lambda digest=digest, signed=signed: signed(digest))
        cases.add("asset", register, lambda signer=signer, header=header: to_hex(asset_of(signer.address, header)))
        some = [consent(rng, signer.address) for _ in range(rng.choice((1, 2, 16, 17, 40)))]
        holders = [Address(rng.randbytes(20)) if each.is_offer else each.grantee for each in some]
        several = {**given, "fieldsList": [fields(each) for each in some], "holders": [to_hex(h) for h in holders]}

        def revoke(some=some, holders=holders, chain_id=chain_id, token=token, signer=signer, signed=signed):
            ids = [each.id(chain_id, token, holder) for each, holder in zip(some, holders, strict=True)]
            chunks = [ids[at : at + 16] for at in range(0, len(ids), 16)]
            return [signed(revoke_digest(chain_id, token, signer.address, chunk)) for chunk in chunks]

        def revoke_nonces(some=some, chain_id=chain_id, token=token, signer=signer, signed=signed):
            masks: dict[int, int] = {}
            for each in some:
                masks[each.word] = masks.get(each.word, 0) | 1 << each.bit
            return [
                [[str(word), str(mask)], signed(revoke_nonces_digest(chain_id, token, signer.address, word, mask))]
                for word, mask in sorted(masks.items())
            ]

        cases.add("revoke", several, revoke)
        cases.add("revoke_nonces", several, revoke_nonces)
        epoch = edge(rng, 32)
        digest = revoke_all_digest(chain_id, token, signer.address, epoch)
        cases.add("revoke_all", {**given, "epoch": epoch}, lambda digest=digest, signed=signed: signed(digest))
        text = rng.choice(("", "words", "Grüße 😀\n", "x" * 300))
        cases.add(
            "sign_text",
            [to_hex(key), text],
            lambda signer=signer, text=text: to_hex(signer.sign_hash(personal_digest(text.encode()))),
        )


def wrong_signatures(cases: Cases, count: int) -> None:
    for number in range(count):
        rng = random.Random(f"wrong {number}")
        digest = rng.randbytes(32)
        signature = bytearray(account(rng).sign_hash(digest))
        kind = rng.randrange(6)
        if kind == 1:
            signature[rng.randrange(65)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
            signature[32:65] = s.to_bytes(32, "big") + bytes([55 - signature[64]])
        elif kind == 3:
            signature[rng.choice((slice(0, 32), slice(32, 64)))] = rng.choice(
                (bytes(32), b"\xff" * 32, SECP256K1_ORDER.to_bytes(32, "big"))
            )
        elif kind == 4:
            signature = signature[: rng.randrange(65)]
        elif kind == 5:
            signature[64] = rng.choice((0, 1, 26, 29, 31, 37))
        given = [to_hex(digest), to_hex(bytes(signature))]
        cases.add(
            "recover",
            given,
            lambda digest=digest, signature=bytes(signature): to_hex(recover(digest, signature)),
        )
    for key in (0, 1, SECP256K1_ORDER - 1, SECP256K1_ORDER, 2**256 - 1):
        data = key.to_bytes(32, "big")
        cases.add("account", to_hex(data), lambda data=data: to_hex(Account(data).address))


JSONS: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**53 - 1, 2**53, "", "dpv:AcademicResearch", "é", "\u2028", "😀", "\x7f\x01", [],
    {}, [1, "a"],
    "0x" + "11" * 32, "0x" + "00" * 20, "0x" + "AB" * 32, {"z": 1, "é": 2, "😀": 3, "\uffff": 4}, 1000, 1001,
)  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*here, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {k: replaced(v, tuple(rest), new) if k == key else v for k, v in value.items()}
    return [replaced(v, tuple(rest), new) if i == key else v for i, v in enumerate(value)]


def mutated(rng: random.Random, good: bytes, in_json: bool) -> bytes:
    """Other bytes, or another value somewhere in the same encoding."""
    if rng.random() < 0.3:
        data = bytearray(good)
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(3))
        return bytes(data)
    document = (decode_json if in_json else decode_cbor)(good)
    path = rng.choice(list(paths(document)))
    values = JSONS if in_json else (*JSONS[:6], 2**64 - 1, *JSONS[7:], *(rng.randbytes(n) for n in (0, 12, 20, 32, 33)))
    new = rng.choice(values)
    if path and isinstance(path[-1], int) and rng.random() < 0.3:
        new = rng.choice(document_list(document, path))  # the same entry twice, or entries out of order
    changed = replaced(document, path, new)
    if isinstance(changed, dict) and rng.random() < 0.1:
        changed = {**changed, "extra": 1}
    try:
        return (encode_json if in_json else encode_cbor)(changed)
    except InvalidInput:
        return json.dumps(changed).encode()


def document_list(document: Any, path: tuple[Any, ...]) -> list[Any]:
    for key in path[:-1]:
        document = document[key]
    found: list[Any] = document
    return found


def decodings(cases: Cases, sample: Any, count: int) -> None:
    """Documents changed at random: refused alike, or read alike."""

    def committee(data: bytes) -> list[str]:
        found = Committee.decode(data)
        found.verify()
        return [to_hex(found.id), to_hex(found.hash)]

    def tree(data: bytes) -> list[str]:
        found = SumTree.decode(data)
        return [to_hex(found.encode()), to_hex(found.root.to_bytes(32, "big"))]

    readers: dict[str, tuple[list[bytes], Callable[[bytes], Any], bool]] = {
        "consent": ([sample.consent.encode()], lambda data: to_hex(Consent.decode(data).encode()), False),
        "order": (
            [sample.order.encode(), replace(sample.order, opened=0, counted=(), lane=2**64 - 1).encode()],
            lambda data: to_hex(Order.decode(data).encode()),
            False,
        ),
        "tree": (
            [SumTree([Leaf(ConsentId(bytes([i]) * 32), Address(b"p" * 20), 2**58 + i) for i in range(n)]).encode()
             for n in (1, 2, 5)],
            tree,
            False,
        ),
        "terms": (
            [sample.terms.encode(), replace(sample.terms, base_models=None, max_uses=0,
            runner=sample.runner.address).encode(),
             replace(sample.terms, expiry=253402300799, flat=2**53 - 1, base_models=(b"\0" * 32,
             b"\x0a" * 32)).encode()],
            lambda data: [to_hex(Terms.decode(data).encode()), to_hex(Terms.decode(data).hash)],
            True,
        ),
        "recipe": (
            [sample.recipe.encode(), replace(sample.recipe, base_name="模" * 200, seed=2**53 - 1).encode()],
            lambda data: to_hex(Recipe.decode(data).hash),
            True,
        ),
        "committee": ([sample.committee.encode()], committee, True),
    }  # fmt: skip
    for kind, (goods, read, in_json) in readers.items():
        for good in goods:
            cases.add(f"decode_{kind}", to_hex(good), lambda good=good, read=read: read(good))
        for number in range(count if kind != "committee" else count // 4):
            rng = random.Random(f"{kind} {number}")
            data = mutated(rng, rng.choice(goods), in_json)
            cases.add(f"decode_{kind}", to_hex(data), lambda data=data, read=read: read(data))


TEXTS = (
    b"1", b"1.0", b"1e3", b"-0", b"0", b" 1", b"1 ", b"[1,2]", b"[1, 2]", b'{"b":1,"a":2}', b'{"a":2,"b":1}',
    b'{"a":1,"a":1}',
    b"9007199254740991", b"9007199254740992", b"-9007199254740991", b"-9007199254740993", b"NaN", b'"\\u0041"',
    b'"\\u001f"',
    b'"\\u001F"', b'"\\n"', b'"\\u000a"', b'"\\/"', b'"/"', b'"\x7f"', b'"\\u007f"', b'"\xc3\xa9"',
    b'"\\u00e9"', b'"\\ud800"',
    b'"\xed\xa0\x80"', b"\xef\xbb\xbf1", b"", b"nul", b"null", b"true", b"tru", b"[" * 32 + b"]" * 32,
    b"[" * 33 + b"]" * 33,
    b"[" * 34 + b"]" * 34, '{"\uffff":1,"😀":2}'.encode(), '{"😀":2,"\uffff":1}'.encode(), b'{"__proto__":{"a":1}}',
    b'{"10":1,"9":2}', b'{"9":2,"10":1}', b'"\\ud83d\\ude00"', '"😀"'.encode(), b"\0" * 4, "1".encode("utf-16"),
)  # fmt: skip


def documents(cases: Cases, count: int) -> None:
    for text in TEXTS:
        cases.add("json", to_hex(text), lambda text=text: to_hex(encode_json(decode_json(text))))

    def value(rng: random.Random, levels: int) -> Any:
        kind = rng.randrange(3) if levels else 0
        if kind == 0:
            return rng.choice(JSONS)
        if kind == 1:
            return [value(rng, levels - 1) for _ in range(rng.randrange(4))]
        keys = ("a", "b", "é", "\uffff", "😀", "10", "9", "", "__proto__", "A", "\u2028", '"')
        return {rng.choice(keys): value(rng, levels - 1) for _ in range(rng.randrange(5))}

    for number in range(count):
        given = value(random.Random(f"json {number}"), 4)
        # As text: on its way to the page, a value would lose what is called __proto__.
        cases.add("encode_json", json.dumps(given), lambda given=given: to_hex(encode_json(given)))


def prices(cases: Cases, sample: Any, count: int) -> None:
    for number in range(count):
        rng = random.Random(f"price {number}")
        chosen = sorted(rng.sample(PURPOSES, rng.randrange(1, 5)), key=lambda entry: entry.term)
        terms = replace(
            sample.terms,
            flat=edge(rng, 53),
            per_record_epoch=edge(rng, 53),
            purposes=tuple(entry.code for entry in chosen),
            base_models=rng.choice((None, (sample.recipe.base_hash,), (bytes(32),))),
            max_epochs=rng.choice((1, 3, 1000)),
        )
        recipe = replace(sample.recipe, epochs=rng.choice((1, 3, 4, 1000)), purpose=rng.choice(PURPOSES).hash)
        records = edge(rng, rng.choice((3, 10, 53, 65)))
        given = {"terms": to_hex(terms.encode()), "recipe": to_hex(recipe.encode()), "records": str(records)}
        cases.add(
            "quote",
            given,
            lambda terms=terms, recipe=recipe, records=records: [
                allows(terms, recipe), str(quote(terms, recipe, Counts(0, records)))
            ],
        )  # fmt: skip
        cases.add(
            "price",
            {"flat": str(terms.flat), "rate": str(terms.per_record_epoch), "records": str(records)},
            lambda terms=terms, records=records: str(price(terms, records)),
        )


AMOUNTS = (
    "0", "1", "12.50", "0.000000001", "0.0000000010", "0.0000000001", "18446744073.709551615",
    "18446744073.709551616",
    "18446744073709551615", "18446744073709551616", "1.", ".5", "-1", "+1", "1e3", "1,5", " 7 ", "", "x",
    "1.5.5", "٣", "1_000",
    "99999999999999999999", "999999999999999999999", "0." + "0" * 18, "0." + "0" * 19, "\n3", "0x10", "01",
)  # fmt: skip


def amounts(cases: Cases) -> None:
    for decimals in (0, 1, 2, 6, 9, 18, 77, 78):
        for units in (0, 1, 5, 10, 100, 10**9, 10**9 + 1, 123456789012345678, 2**64 - 1, 2**64):
            cases.add(
                "write_units",
                [str(units), decimals],
                lambda units=units, decimals=decimals: [format_units(units, decimals), unit_decimals(decimals)],
            )
        for amount in AMOUNTS:
            cases.add(
                "parse_units",
                [amount, decimals],
                lambda amount=amount, decimals=decimals: str(parse_units(amount, decimals)),
            )


def addresses(cases: Cases, count: int) -> None:
    for number in range(count):
        rng = random.Random(f"address {number}")
        address = Address(rng.randbytes(20)) if number else NOBODY
        cases.add("write_address", to_hex(address), lambda address=address: write_address(address))
        typed = rng.choice((
            write_address(address), to_hex(address), "0x" + to_hex(address)[2:].upper(), "0X" + to_hex(address)[2:],
            write_address(address).swapcase(), write_address(address)[:-1],
            "0x" + write_address(address)[2:].swapcase(),
            to_hex(address)[2:], to_hex(address) + " ", "0x" + "zz" * 20,
        ))  # fmt: skip
        cases.add("read_address", typed, lambda typed=typed: to_hex(read_address(typed)))


def all_cases(sample: Any) -> Cases:
    cases = Cases()
    signings(cases, 40)
    wrong_signatures(cases, 120)
    decodings(cases, sample, 250)
    documents(cases, 150)
    prices(cases, sample, 80)
    amounts(cases)
    addresses(cases, 60)
    assert keccak(b"") == from_hex("0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470")
    return cases
