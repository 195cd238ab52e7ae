"""Writes the golden vectors beside it: `python tests/vectors/make_vectors.py` (see README.md).

The inputs are fixed; what stands under "independent" was copied from the named standard and is only checked here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "edge"))

from hearthnet.wire import canonical  # noqa: E402  after the path is set
from hearthnet.wire.cid import cid_of, make_blob_manifest  # noqa: E402
from hearthnet.wire.co_signature import co_sign, with_co_signers  # noqa: E402
from hearthnet.wire.community import (  # noqa: E402
    CommunityCreated,
    CommunityPolicy,
    KnownHead,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)
from hearthnet.wire.community_manifest import CommunityManifest, Member, sign_community_manifest  # noqa: E402
from hearthnet.wire.event import seal_event  # noqa: E402
from hearthnet.wire.event_types import CidAdvertised, DocumentIngested, ManifestUpdated  # noqa: E402
from hearthnet.wire.frame import StreamFrame, encode_sse, encode_ws  # noqa: E402
from hearthnet.wire.identity import Domain, KeyPair, short_id, signing_input  # noqa: E402
from hearthnet.wire.manifest import Endpoint, Hardware, NodeManifest, sign_node_manifest  # noqa: E402
from hearthnet.wire.reply import ErrorBody, ReplyHead, sign_reply  # noqa: E402
from hearthnet.wire.rpc import CallHead, sign_call  # noqa: E402
from hearthnet.wire.session import CallerSession  # noqa: E402
from hearthnet.wire.session_desk import SessionDesk  # noqa: E402
from hearthnet.wire.session_key import Certificates, transcript  # noqa: E402
from hearthnet.wire.stream_message import (  # noqa: E402
    AckMessage,
    CallMessage,
    CancelMessage,
    ToolResultMessage,
    encode_message,
)

SEEDS = {"anna": bytes(range(32)), "bert": bytes(range(32, 64)), "zero": bytes(32)}
ANNA, BERT = KeyPair(SEEDS["anna"]), KeyPair(SEEDS["bert"])
HOME = ANNA.node_id
NOW = 1_795_241_580  # 2026-11-21T05:33:00Z
ULIDS = ["01HZX3M7Q8N5V2K4T6W9YB0CD" + last for last in "EFGHJK"]

# RFC 8785, appendix B: IEEE 754 bits and text
RFC8785_NUMBERS = {
    "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324", "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308", "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992", "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000", "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23", "44b52d02c7e14af7": "1.0000000000000001e+23", "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000", "444b1ae4d6e2ef50": "1e+21", "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001", "41b3de4355555553": "333333333.3333332", "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333", "41b3de4355555556": "333333333.3333334", "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333", "43143ff3c1cb0959": "1424953923781206.2",
}  # fmt: skip
# RFC 8785, sections 3.2.2 to 3.2.4
RFC8785_OBJECT = (
    '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
    r'"string":"\u20ac$\u000F\u000aA' + "'" + r'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}'
)
RFC8785_OBJECT_HEX = (
    "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e333333333333"
    "332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c"
    "222f227d"
)
RFC8785_KEYS = (
    r'{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",'
    r'"\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}'
)
RFC8785_KEY_ORDER = [
    "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign", "Emoji: Grinning Face",
    "Hebrew Letter Dalet With Dagesh",
]  # fmt: skip
# RFC 8032, section 7.1: secret, public, message, signature
RFC8032 = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip
# BLAKE3 test_vectors.json: the input of length n is the bytes 0..250 repeated
BLAKE3 = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
}


def canonical_vectors():
    texts = {
        "empty object": "{}",
        "keys sorted at every level, white space gone": '{ "b": {"d": 1, "c": [ {"z":0,"a":1} ]}, "a": 2 }',
        "keys sorted by UTF-16 units, not by code points": '{"\\ud83d\\ude00":1,"\\uff5e":2,"z":3}',
        "strings keep every character but the escaped ones": '"\\u00fc \\u2028 \\u007f \\/ \\u0001 \\b\\f\\n\\r\\t \\"\\\\"',
        "integers up to 53 bits": "[9007199254740991,-9007199254740991,0]",
        "numbers without needless characters": "[1.0,1.10,1E2,-0.0,1e-7,0.000001,1e20,1e21]",
        "null stays": '{"a":null}',
    }
    refused = {
        "a key twice": b'{"a":1,"a":1}', "a key twice, escaped": b'{"a":1,"\\u0061":1}', "NaN": b"NaN", "Infinity": b"-Infinity",
        "number out of range": b"1e400", "54 bits": b"9007199254740993", "byte order mark": b"\xef\xbb\xbf{}",
        "Latin-1": b'"\xfc"', "lone surrogate": b'"\\ud800"', "trailing data": b"{}{}", "truncated": b'{"a":',
        "nested 33 deep": b"[" * 33 + b"]" * 33,
    }  # fmt: skip
    return {
        "cases": [
            {"name": name, "json": text, "canonical_hex": canonical.encode(canonical.decode(text.encode())).hex()}
            for name, text in texts.items()
        ],
        "refused": [{"name": name, "hex": data.hex()} for name, data in refused.items()],
        "independent": {
            "source": "RFC 8785, appendix B and sections 3.2.2 to 3.2.4",
            "numbers": [{"ieee754": bits, "text": text} for bits, text in RFC8785_NUMBERS.items()],
            "object": {"json": RFC8785_OBJECT, "canonical_hex": RFC8785_OBJECT_HEX},
            "keys": {"json": RFC8785_KEYS, "values_in_order": RFC8785_KEY_ORDER},
        },
    }


def identity_vectors():
    body = canonical.encode({"hello": "world"})
    return {
        "keys": [
            {"seed_hex": seed.hex(), "public_hex": KeyPair(seed).public.hex(), "node_id": KeyPair(seed).node_id,
             "short_id": short_id(KeyPair(seed).node_id)}
            for seed in SEEDS.values()
        ],
        "signatures": [
            {"seed_hex": SEEDS["anna"].hex(), "domain": domain.value, "community_id": BERT.node_id, "body_hex": body.hex(),
             "signed_hex": signing_input(domain, BERT.node_id, body).hex(), "signature": ANNA.sign(domain, BERT.node_id, body)}
            for domain in Domain
        ],
        "not_node_ids": [HOME[:-1], HOME + "A", HOME[8:], short_id(HOME), "ed25519:" + "A" * 42 + "B"],
        "independent": {
            "source": "RFC 8032, section 7.1, tests 1 to 3",
            "ed25519": [
                {"secret_hex": secret, "public_hex": public, "message_hex": message, "signature_hex": signature}
                for secret, public, message, signature in RFC8032
            ],
        },
    }  # fmt: skip


def cid_vectors():
    chunks = (cid_of(b"first chunk"), cid_of(b"second chunk"))
    manifest = make_blob_manifest(chunks, 262_144 + 7, mime_type="text/plain", filename="plan.txt")
    hashed = {"chunk_size_bytes": 262_144, "chunks": chunks, "size_bytes": manifest.size_bytes}
    return {
        "contents": [{"hex": data.hex(), "cid": cid_of(data)} for data in (b"", b"abc", "Wasser für alle".encode())],
        "manifests": [
            {
                "hashed_hex": canonical.encode(hashed).hex(),
                "cid": manifest.cid,
                "wire_hex": canonical.encode(manifest).hex(),
            }
        ],
        "independent": {
            "source": "BLAKE3 test_vectors.json; the input of length n is the bytes 0..250 repeated",
            "blake3": [{"input_len": length, "hash": digest} for length, digest in BLAKE3.items()],
        },
    }


def membership_datas():
    """One of each kind; the hashes name no event of this file."""
    until, head = "2026-12-01T00:00:00Z", KnownHead(0, 3, cid_of(b"head"))
    after = tuple(sorted([cid_of(b"one act"), cid_of(b"another act")]))
    revoked = MemberRevoked(KeyPair(SEEDS["zero"]).node_id, "compromised", head, until, after)
    return [
        MemberJoined(ULIDS[1], {"version": 1}, after),
        MemberPromoted(BERT.node_id, "trusted", head, until, after),
        MemberDemoted(BERT.node_id, "member", "inactive", KnownHead(), until, after),
        with_co_signers(revoked, (co_sign(BERT, HOME, revoked),)),
        MemberLeft(after),
        PolicyUpdated(CommunityPolicy(min_signatures_to_revoke=2), after),
        RootSucceeded(BERT.node_id, "handed_over", until, after),
    ]


def co_signature_vectors():
    data = next(item for item in membership_datas() if isinstance(item, MemberRevoked))
    fields = {name: value for name, value in msgspec.to_builtins(data).items() if name != "co_signers"}
    signed = canonical.encode({**fields, "act": "community.member.revoked"})
    return [
        {"seed_hex": SEEDS["bert"].hex(), "community_id": HOME, "signer": BERT.node_id,
         "signed_hex": signing_input(Domain.CO_SIGNATURE, HOME, signed).hex(), "signature": data.co_signers[0].signature}
    ]  # fmt: skip


def event_vectors():
    datas = [
        CommunityCreated("Kirchgasse", HOME, CommunityPolicy()),
        MemberInvited(BERT.node_id, "Bert", "member", "2026-12-01T00:00:00Z"),
        DocumentIngested("personal", cid_of(b"doc"), "Wasser für alle", "de", 17),
        CidAdvertised(cid_of(b"blob"), (262_144, 7)),
        ManifestUpdated({"load": {"cpu": 0.5}, "version": 1}),
        *membership_datas(),
    ]
    cases, after = [], None
    for at, data in enumerate(datas):
        sealed = seal_event(
            ANNA, data, community_id=HOME, event_id=ULIDS[at % 6][:-2] + f"{at:02}", lamport=10 * at + 1, now=NOW + at, after=after,
            author_epoch=int(at >= 4), expires_at=NOW + 3600 if at == 3 else None,
        )  # fmt: skip
        after = sealed.entry
        unsigned = msgspec.structs.replace(sealed.event, signature="")
        signed = signing_input(Domain.EVENT, HOME, msgspec.json.encode(unsigned))
        cases.append(
            {"author_seed_hex": SEEDS["anna"].hex(), "fields": canonical.decode(sealed.wire), "signed_hex": signed.hex(),
             "hash": sealed.hash, "wire_hex": sealed.wire.hex()}
        )  # fmt: skip
    return {
        "chain": cases,
        "co_signatures": co_signature_vectors(),
        "refused": _refused_events(bytes.fromhex(cases[1]["wire_hex"])),
    }


def _refused_events(wire):
    changed = {
        "signature of another event": wire.replace(b'"Bert"', b'"Bart"'),
        "white space": wire.replace(b",", b", ", 1),
        "escaped character": wire.replace(b'"Bert"', b'"B\\u0065rt"'),
        "a key twice": wire.replace(b'"lamport":11', b'"lamport":11,"lamport":11'),
        "unknown member": wire.replace(b'{"author"', b'{"a":1,"author"'),
        "no signature": wire[: wire.index(b',"signature"')] + wire[wire.index(b',"wall_clock"') :],
        "truncated": wire[:-1],
    }
    return [{"name": name, "hex": data.hex()} for name, data in changed.items()]


def rpc_vectors():
    body = {"params": {"corpus": "system"}, "input": {"query": "Wasser für alle", "k": 5, "weight": 0.5}}
    heads = [
        CallHead(capability="rag.query", version="1.0", request_id=ULIDS[0], sender=HOME, community=BERT.node_id,
                 timestamp="2026-11-21T05:33:00Z"),
        CallHead(capability="rag.query", version="1.0", request_id=ULIDS[1], sender=HOME, community=BERT.node_id,
                 timestamp="2026-11-21T05:33:00Z", epoch="AAECAwQFBgcICQoLDA0ODw", to=BERT.node_id),
    ]  # fmt: skip
    calls = [sign_call(ANNA, head, body) for head in heads]
    reply_head = ReplyHead(
        request_id=ULIDS[0], sender=BERT.node_id, timestamp="2026-11-21T05:33:01Z", epoch="AAECAwQFBgcICQoLDA0ODw"
    )
    error = msgspec.to_builtins(ErrorBody("rate_limited", "slow down", retry_after_ms=250))
    replies = [
        sign_reply(BERT, BERT.node_id, reply_head, 200, {"output": {"chunks": []}, "meta": {"ms": 1.5}}),
        sign_reply(BERT, BERT.node_id, reply_head, 429, error),
    ]
    return {
        "calls": [
            {"seed_hex": SEEDS["anna"].hex(), "headers": call.headers(), "body_hex": canonical.encode(call.body).hex(),
             "signed_hex": signing_input(Domain.CALL, BERT.node_id, canonical.encode(call.envelope())).hex()}
            for call in calls
        ],
        "replies": [
            {"seed_hex": SEEDS["bert"].hex(), "community_id": BERT.node_id, "status": reply.status, "headers": reply.headers(),
             "body_hex": canonical.encode(reply.body).hex(),
             "signed_hex": signing_input(Domain.REPLY, BERT.node_id, reply.signed()).hex()}
            for reply in replies
        ],
    }  # fmt: skip


def manifest_vectors():
    node = NodeManifest(
        node_id=HOME, display_name="Kirchgasse 4", community_id=BERT.node_id, profile="hearth",
        endpoints=(Endpoint("https", "10.0.0.7", 7080),), hardware=Hardware(ram_gb=7.5, cpu_cores=4), uptime_seconds=120,
        epoch="AAECAwQFBgcICQoLDA0ODw",
    )  # fmt: skip
    time = "2026-11-21T05:33:00Z"
    community = CommunityManifest(
        community_id=BERT.node_id, name="Kirchgasse", root_key=BERT.node_id, created_at=time, lamport_at_creation=1,
        policy=CommunityPolicy(), members=(Member(HOME, "anchor", time, BERT.node_id),), head_lamport=9, signed_by=BERT.node_id,
    )  # fmt: skip
    return {
        "node": [_signed_object(sign_node_manifest(ANNA, node, NOW), Domain.NODE_MANIFEST, HOME)],
        "community": [
            _signed_object(sign_community_manifest(BERT, community), Domain.COMMUNITY_MANIFEST, BERT.node_id)
        ],
    }


def _signed_object(wire, domain, signer):
    fields = canonical.decode(wire)
    signed = signing_input(
        domain, BERT.node_id, canonical.encode({k: v for k, v in fields.items() if k != "signature"})
    )
    return {"signer": signer, "fields": fields, "signed_hex": signed.hex(), "wire_hex": wire.hex()}


def frame_vectors():
    frames = [
        StreamFrame("token", {"text": "Wasser\nfür alle "}, 1),
        StreamFrame("done", {"ms": 1.5, "stop_reason": "end"}, 2),
    ]
    messages = [
        AckMessage(8), CancelMessage(), ToolResultMessage("call-1", {"ok": True}), CallMessage({"capability": "llm.chat"}, "ed25519:x"),
    ]  # fmt: skip
    return {
        "stream": [
            {**msgspec.to_builtins(frame), "sse_hex": encode_sse(frame).hex(), "ws_hex": encode_ws(frame).hex()}
            for frame in frames
        ],
        "stream_messages": [
            {"fields": canonical.decode(encode_message(message)), "ws_hex": encode_message(message).hex()}
            for message in messages
        ],
    }


def session_vectors():
    caller_bytes = iter([bytes([1]) * 32, bytes([2]) * 32])
    server_bytes = iter([bytes([3]) * 32, bytes([4]) * 16, bytes([5]) * 32])
    certificates = [b"certificate of anna", b"certificate of bert"]
    caller = CallerSession(ANNA, BERT.node_id, HOME, lambda _: next(caller_bytes))
    desk = SessionDesk(BERT.node_id, lambda _: next(server_bytes))
    hello = caller.hello()
    offer = desk.offer(hello, ANNA.node_id, Certificates.of(*certificates), 0.0)
    opening = caller.offered(offer, Certificates.of(*certificates))
    accepted = desk.open(opening, 0.0)
    caller.accepted(accepted, 0.0)
    words, content = ("rag.query", "1.0", ULIDS[0]), b'{"input":{"query":"water"},"params":{}}'
    sealed = caller.seal(words, content)
    return {
        "caller_seed_hex": SEEDS["anna"].hex(), "server_seed_hex": SEEDS["bert"].hex(),
        "caller_secret_hex": (bytes([1]) * 32).hex(), "server_secret_hex": (bytes([3]) * 32).hex(),
        "caller_certificate_hex": certificates[0].hex(), "server_certificate_hex": certificates[1].hex(),
        "hello": msgspec.to_builtins(hello), "offer": msgspec.to_builtins(offer),
        "signed_hex": transcript(hello, offer, Certificates.of(*certificates)).hex(), "signature": opening.signature,
        "accepted_mac": accepted.mac, "words": words, "content_hex": content.hex(), "call_header": sealed.text(),
        "reply_header": desk.seal_reply(sealed, 200, content),
    }  # fmt: skip


FILES = {
    "canonical": canonical_vectors, "identity": identity_vectors, "cid": cid_vectors, "event": event_vectors, "rpc": rpc_vectors,
    "manifest": manifest_vectors, "frame": frame_vectors, "session": session_vectors,
}  # fmt: skip


def text_of(name):
    """The content of `<name>.json`."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (HERE / f"{file}.json").write_text(text_of(file), encoding="ascii")
        print(f"{file}.json")
