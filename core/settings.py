"""What a person or an operator may set, each with a default that works.

A value comes from the first place that names it: the environment (`ALLOD_HOME`), a file `.env` in the working directory
(the same names), a TOML file (`home = "…"`) at `ALLOD_CONFIG`, by default `allod.toml` in the XDG configuration
directory. `docs/settings.md` is `document()`, which a test compares.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.errors import InvalidInput

PREFIX = "ALLOD_"
BESIDE = {"ALLOD_CONFIG", "ALLOD_TOOLS", "ALLOD_NO_SKIP"}  # names of ours that are no settings

Place = Annotated[Path, AfterValidator(Path.expanduser)]


def default_home() -> Path:
    """The XDG data directory's `allod` folder."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "allod"


def default_cache() -> Path:
    """The XDG cache directory's `allod` folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "allod"


def config_file() -> Path:
    """The TOML file with settings, whether it exists or not."""
    named = os.environ.get("ALLOD_CONFIG")
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(named) if named else Path(base) / "allod" / "allod.toml"


class Settings(BaseSettings):
    """The settings of one command, a value each; `load` reads them and explains what is wrong."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    home: Place = Field(default_factory=default_home, description="The directory that holds this world.")
    actor: str | None = Field(
        default=None,
        validation_alias=AliasChoices("ALLOD_AS", "as"),
        description="Who acts: the name of an identity in this home.",
    )
    passphrase_file: Place | None = Field(
        default=None, description="A file whose first line is the passphrase of the one who acts."
    )
    cache: Place = Field(
        default_factory=default_cache, description="What can be made again: the demo's base model lies here."
    )
    rpc_url: str | None = Field(
        default=None,
        description="An EVM JSON-RPC endpoint, or several (commas), which must agree; else the embedded chain.",
    )
    deployment: Place | None = Field(
        default=None, description="Which contracts are used (a deployment.json); by default those of the home's chain."
    )
    committee: Place | None = Field(
        default=None, description="The accepted committee of keepers (its document); by default the home's own three."
    )
    blocks: Place | None = Field(default=None, description="The block store's folder; by default `blocks` in the home.")
    kubo: str | None = Field(
        default=None,
        description="The multiaddress of a kubo node's RPC, such as /ip4/127.0.0.1/tcp/5001; "
        "without it the embedded block store.",
    )
    kubo_authorization: Place | None = Field(
        default=None, description="A file whose first line is the Authorization header that the kubo node asks for."
    )
    patience: float = Field(
        default=120.0,
        ge=0,
        description="Seconds for which a chain endpoint, a kubo node or a committee that is away is waited for.",
    )
    server_url: str | None = Field(
        default=None,
        description="Where browsers reach the server, say https://allod.example; needed behind a proxy with TLS.",
    )
    server_operator: str = Field(
        default="This computer: whoever runs it runs the server.",
        max_length=200,
        description="One sentence that owners read where they decide: who operates the server.",
    )
    runner_operator: str = Field(
        default="This computer, the same person as the server.",
        max_length=200,
        description="Likewise, who operates the machine that trains.",
    )
    keeper_operators: str = Field(
        default="This computer, the same person as the server.",
        max_length=4000,
        description="Likewise, who operates the keepers: one sentence for all, or one for each with | between.",
    )
    database_url: str | None = Field(default=None, description="An SQLAlchemy URL; by default SQLite in the home.")
    upload_bytes: int = Field(
        default=64 << 30, ge=16 << 20, description="How much an account may have sent to the server and not committed."
    )
    vault_bytes: int = Field(
        default=1 << 40,
        ge=16 << 20,
        description="How large a vault may be on the server, and likewise what one owner has published, together.",
    )
    reserve_bytes: int = Field(
        default=2 << 30,
        ge=0,
        description="How much of the disks of the home and of the embedded block store stays free: "
        "the server takes no blocks that would leave less.",
    )
    relayed_of_one: int = Field(
        default=200,
        ge=1,
        description="How many operations of one account the server takes within 24 hours, whose gas it pays; "
        "revocations that end consents which it knows have as many again.",
    )
    relayed_of_all: int = Field(
        default=5000,
        ge=1,
        description="Likewise, how many of all accounts together; beyond it, only such revocations are taken.",
    )

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was said in code, then the environment, `.env`, and the TOML file."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls, config_file())

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process. `InvalidInput` names the setting that is wrong, and one that does not exist."""
        strange = unknown_names()
        if strange:
            raise InvalidInput(
                f"There is no setting called {', '.join(strange)}.", hint="docs/settings.md lists the settings."
            )
        try:
            return cls()
        except ValidationError as error:
            wrong = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
            raise InvalidInput(f"This setting is not of its form: {wrong}.", hint="See docs/settings.md.") from None


def unknown_names() -> list[str]:
    """Names in the TOML file, or with our prefix in the environment and `.env`, that are no setting: misspelt ones."""
    names = {variable(name) for name in Settings.model_fields} | BESIDE
    found = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    try:
        found |= {name.upper() for name in DotEnvSettingsSource(Settings).env_vars if name.upper().startswith(PREFIX)}
        known = {key(name) for name in Settings.model_fields}
        path = config_file()
        in_toml = tomllib.loads(path.read_text("utf-8")).keys() - known if path.exists() else set()
    except (OSError, ValueError) as error:
        hint = f"Look at .env and {config_file()}."
        raise InvalidInput(f"The settings cannot be read: {error}.", hint=hint) from None
    return sorted(found - names) + sorted(in_toml)


def default_of(field: str) -> object:
    """What a setting is where nobody says anything."""
    return Settings.model_fields[field].get_default(call_default_factory=True, validated_data={})


def variable(field: str) -> str:
    """The name of a setting in the environment."""
    return "ALLOD_AS" if field == "actor" else f"{PREFIX}{field.upper()}"


def key(field: str) -> str:
    """The name of a setting in the TOML file."""
    return variable(field).removeprefix(PREFIX).lower()


def document() -> str:
    """The page `docs/settings.md`: every setting, from its declaration here."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None or field.default is None else f" (`{field.default}`)"
        rows.append(f"| `{variable(name)}` | `{key(name)}` | {field.description}{default} |")
    table = "\n".join(["| environment, `.env` | TOML | what it is |", "| --- | --- | --- |", *rows])
    return _PAGE.format(table=table)


_PAGE = """# Settings

Every setting has a default that works. A value comes from the first place that names it:

1. the environment;
2. a file `.env` in the working directory, with the same names;
3. a TOML file: the one that `ALLOD_CONFIG` names, else `allod/allod.toml` in `$XDG_CONFIG_HOME` (`~/.config`).

A name that does not exist is an error, wherever it stands. `allod doctor` says what is in force.

{table}

Keys and passphrases are no settings: a passphrase is typed, or read from a file or standard input.
"""
