"""What a person or an operator may set, each from the environment (`ALLOD_…`) with a default that works."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def default_home() -> Path:
    """The XDG data directory's `allod` folder."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "allod"


def default_cache() -> Path:
    """The XDG cache directory's `allod` folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "allod"


class Settings(BaseSettings):
    """The settings of one command; the names in the environment carry the prefix `ALLOD_`."""

    model_config = SettingsConfigDict(
        env_prefix="ALLOD_", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=default_home, description="The directory that holds this world.")
    actor: str | None = Field(
        default=None, validation_alias="ALLOD_AS", description="Who acts: the name of an identity in this home."
    )
    passphrase_file: Path | None = Field(
        default=None, description="A file whose first line is the passphrase of the one who acts."
    )
    cache: Path = Field(
        default_factory=default_cache, description="What can be made again: the demo's base model lies here."
    )
    rpc_url: str | None = Field(default=None, description="An EVM JSON-RPC endpoint; without it the embedded chain.")
    deployment: Path | None = Field(
        default=None, description="Which contracts are used (a deployment.json); by default those of the home's chain."
    )
    blocks: Path | None = Field(default=None, description="The block store's folder; by default `blocks` in the home.")
    kubo: str | None = Field(
        default=None,
        description="The multiaddress of a kubo node's RPC, such as /ip4/127.0.0.1/tcp/5001; "
        "without it the embedded block store.",
    )
    kubo_authorization: Path | None = Field(
        default=None, description="A file whose first line is the Authorization header that the kubo node asks for."
    )
    kubo_patience: float = Field(
        default=120.0, ge=0, description="Seconds for which a kubo node that does not answer is waited for."
    )
    database_url: str | None = Field(default=None, description="An SQLAlchemy URL; by default SQLite in the home.")

    @property
    def deployment_file(self) -> Path:
        """Where the contracts' addresses stand."""
        return self.deployment or self.home / "chain" / "deployment.json"

    @property
    def blocks_folder(self) -> Path:
        """Where sealed blocks lie."""
        return self.blocks or self.home / "blocks"

    @property
    def demo_base(self) -> Path:
        """The folder of the demo's base model."""
        return self.cache / "demo-base"

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'allod.db'}"
