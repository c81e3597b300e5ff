"""A job made by hand, without chain and keepers, and a base model that needs no training to exist."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consent.chain.account import Account
from consent.committee import Committee, Member
from consent.grant import Consent
from consent.order import Order
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.terms import Terms
from consent.tree import Leaf, SumTree
from consent.typed import keccak
from core.ids import NOBODY, Address, Asset, ConsentId, JobId, ObjectId, VaultId
from finetune.access import Access
from finetune.licence import Licence
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, Cid
from vault.hpke import hpke_generate
from vault.keys import RootKey
from vault.manifest import DatasetHeader, ObjectManifest, dataset_tree, digest
from vault.payload import dek_commitment, seal_into
from vault.sharetable import ShareRow
from vault.sharing import Scope, open_share, seal_release, share_objects
from vault.wrapping import DEK_LABEL, META_LABEL, wrap

CHAIN = 31337
TOKEN = Address(b"\x70" * 20)
ESCROW = Address(b"\xe5" * 20)
PURPOSE = purpose("academic-research")
FUTURE = 4_000_000_000


def notes(name: str, count: int) -> bytes:
    """A file of one note a line: every line is a record."""
    return "".join(f"{name} keeps note number {index} in the blue drawer.\n" for index in range(count)).encode()


@dataclass
class HandKeepers:
    """Three keepers' keys without keepers: tests release shares by hand."""

    private: list[bytes] = field(default_factory=list)
    committee: Committee = field(init=False)

    def __post_init__(self) -> None:
        members = []
        for index in range(1, 4):
            seed, public = hpke_generate()
            self.private.append(seed)
            members.append(Member(index, public, Account(bytes([index]) * 32).address, f"local:{index}"))
        self.committee = Committee(t=2, q=3, epoch=1, end=FUTURE, keepers=tuple(members))

    def release(
        self, access: Access, order: Order, *, keepers: tuple[int, ...] = (1, 2)
    ) -> dict[ObjectId, list[tuple[int, bytes]]]:
        """What these keepers would send for every object of the licence."""
        licence = access.licence
        head, consent = licence.table.head, licence.consent
        scope = Scope(order.chain_id, TOKEN, consent.owner, consent.asset, licence.header.vault_id)
        out: dict[ObjectId, list[tuple[int, bytes]]] = {}
        for object_id in licence.object_ids:
            row = ShareRow.decode(licence.table.row(object_id)[0])
            for i in keepers:
                share = open_share(self.private[i - 1], i, scope, head, row)
                public = self.committee.hpke_keys[i - 1]
                sealed = seal_release(order.job_pk, share, scope, head, row, i, public, order.job_id)
                out.setdefault(object_id, []).append((i, sealed))
        return out


@dataclass
class HandOwner:
    """An owner whose dataset was sealed, shared and licensed without a chain."""

    account: Account
    licence: Licence
    consent_id: ConsentId


def make_owner(
    blocks: MemoryBlocks,
    files: Mapping[str, bytes],
    records: int,
    committee: Committee,
    payer: Address,
    *,
    flat: int = 100,
    rate: int = 3,
    epochs: int = 9,
) -> HandOwner:
    """Seal `files`, share their keys with `committee`, and consent to `payer`."""
    account, root, vault = Account(secrets.token_bytes(32)), RootKey.generate(), VaultId(secrets.token_bytes(32))
    deks: dict[ObjectId, bytes] = {}
    manifests = []
    for data in files.values():
        object_id, dek = ObjectId(secrets.token_bytes(32)), secrets.token_bytes(32)
        sealed = seal_into(io.BytesIO(data), dek, vault, object_id, blocks)
        manifests.append(
            ObjectManifest(
                vault,
                object_id,
                sealed.payload,
                sealed.size,
                dek_commitment(dek, vault, object_id),
                wrap(root, DEK_LABEL, vault, object_id, dek),
                wrap(root, META_LABEL, vault, object_id, b"{}"),
            )
        )
        deks[object_id] = dek
    encoded = tuple(manifest.encode() for manifest in sorted(manifests, key=lambda item: item.object_id))
    signing = root.signing_key()
    public = signing.public_key().public_bytes_raw()
    header = DatasetHeader(vault, public, dataset_tree(encoded).root, len(encoded), records, Cid.of(DAG_CBOR, b"\xa0"))
    asset = Asset(keccak(account.address + digest(header)))
    scope = Scope(CHAIN, TOKEN, account.address, asset, vault)
    table = share_objects(scope, deks, committee.id, committee.t, committee.hpke_keys, signing, 1)
    terms = Terms.write(
        purposes=[PURPOSE.code],
        payee=account.address,
        committee=committee.hash,
        expiry=FUTURE,
        max_epochs=epochs,
        flat=flat,
        per_record_epoch=rate,
    )
    consent = Consent(
        account.address, payer, asset, terms.hash, PURPOSE.hash, NOBODY, ESCROW, 1, FUTURE, 0, secrets.randbits(32)
    )
    licence = Licence(consent, terms.encode(), header.encode(), table, encoded)
    return HandOwner(account, licence, consent.id(CHAIN, TOKEN, payer))


def make_recipe(
    *, epochs: int = 2, rows: int = 2, sequence: int = 64, seed: int = 7, base: bytes = bytes(32)
) -> Recipe:
    """A small recipe for the tiny base model."""
    return Recipe(
        base_name="tiny",
        base_hash=base,
        lora=Lora(4, 8, 0, ("q_proj", "v_proj")),
        epochs=epochs,
        seed=seed,
        purpose=PURPOSE.hash,
        learning_rate_nano=5_000_000,
        warmup_steps=1,
        batch_rows=rows,
        sequence=sequence,
    )


def make_order(owners: list[HandOwner], recipe: Recipe, committee: Committee, payer: Address, job_pk: bytes) -> Order:
    """An order that pays these owners, as if it were open."""
    tree = SumTree([Leaf(owner.consent_id, owner.account.address, 1000) for owner in owners])
    runner = Account(b"\x66" * 32).address
    return Order(
        CHAIN, ESCROW, payer, 0, 1_700_000_000, 1_700_050_000, runner, recipe.hash, job_pk, 0, committee.q,
        committee.addresses, tree.root,
    )  # fmt: skip


@dataclass
class HandJob:
    """Owners, an open order and its key: everything `access` and `broker` need, without chain and keepers."""

    blocks: MemoryBlocks
    keepers: HandKeepers
    owners: list[HandOwner]
    recipe: Recipe
    order: Order
    private: bytes

    @property
    def job(self) -> JobId:
        return self.order.job_id

    def access(self, owner: HandOwner) -> Access:
        """A door that nothing has opened yet."""
        return Access(owner.licence, owner.consent_id, self.order, TOKEN, self.keepers.committee, self.blocks)

    def opened(self, owner: HandOwner) -> Access:
        """A door with every object's key behind it."""
        access = self.access(owner)
        assert access.unlock(self.private, self.keepers.release(access, self.order)) == {}
        return access


def make_hand_job(*datasets: tuple[Mapping[str, bytes], int], **recipe: int) -> HandJob:
    """A job by hand: each argument is the files of one owner and how many records they hold."""
    blocks, keepers, payer = MemoryBlocks(), HandKeepers(), Account(b"\x50" * 32).address
    owners = [make_owner(blocks, files, records, keepers.committee, payer) for files, records in datasets]
    made = make_recipe(**recipe)  # type: ignore[arg-type]
    private, public = hpke_generate()
    order = make_order(owners, made, keepers.committee, payer, public)
    return HandJob(blocks, keepers, owners, made, order, private)


def write_tiny_base(folder: Path) -> None:
    """Put the tiny model into `folder`."""
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary, hidden, inner, layers, heads = 257, 32, 64, 2, 4
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"})
    )
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary, "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "eos_token_id": 256,
        "bos_token_id": None, "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    source = np.random.default_rng(5)

    def matrix(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (source.standard_normal(shape) * 0.1).astype(np.float32)

    weights = {
        "model.embed_tokens.weight": matrix(vocabulary, hidden),
        "model.norm.weight": np.ones(hidden, np.float32),
    }
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            weights[f"{at}self_attn.{name}.weight"] = matrix(hidden, hidden)
        weights[f"{at}mlp.gate_proj.weight"] = matrix(inner, hidden)
        weights[f"{at}mlp.up_proj.weight"] = matrix(inner, hidden)
        weights[f"{at}mlp.down_proj.weight"] = matrix(hidden, inner)
        weights[f"{at}input_layernorm.weight"] = np.ones(hidden, np.float32)
        weights[f"{at}post_attention_layernorm.weight"] = np.ones(hidden, np.float32)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
