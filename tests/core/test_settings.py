"""Settings come from the environment, then `.env`, then a TOML file; misspelt ones are errors; the page lists them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.settings import Settings, document

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ALLOD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config" / "allod" / "allod.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_anything_the_defaults_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = Settings.load()
    assert (settings.home, settings.actor, settings.rpc_url) == (tmp_path / "allod", None, None)
    assert settings.database == f"sqlite:///{tmp_path / 'allod' / 'allod.db'}"


def test_the_environment_comes_before_dotenv_and_dotenv_before_toml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toml(tmp_path, 'home = "/toml"\nas = "toml"\nrpc_url = "http://toml"\n')
    assert Settings.load().home == Path("/toml")
    (tmp_path / ".env").write_text("ALLOD_AS=dotenv\nALLOD_RPC_URL=http://dotenv\nSOMEBODY_ELSES=1\n")
    monkeypatch.setenv("ALLOD_RPC_URL", "http://environment")
    settings = Settings.load()
    assert (settings.home, settings.actor, settings.rpc_url) == (Path("/toml"), "dotenv", "http://environment")


def test_another_toml_file_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toml(tmp_path, 'as = "default"\n')
    (tmp_path / "mine.toml").write_text('as = "mine"\n')
    monkeypatch.setenv("ALLOD_CONFIG", str(tmp_path / "mine.toml"))
    assert Settings.load().actor == "mine"


def test_a_path_may_begin_at_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/users/ada")
    toml(tmp_path, 'home = "~/allod"\n')
    assert Settings.load().home == Path("/users/ada/allod")


@pytest.mark.parametrize("where", ["environment", "dotenv", "toml"])
def test_a_misspelt_name_is_an_error_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    if where == "environment":
        monkeypatch.setenv("ALLOD_HOEM", "/elsewhere")
    elif where == "dotenv":
        (tmp_path / ".env").write_text("ALLOD_HOEM=/elsewhere\n")
    else:
        toml(tmp_path, 'hoem = "/elsewhere"\n')
    with pytest.raises(InvalidInput, match=r"(?i)hoem"):
        Settings.load()


def test_a_value_of_the_wrong_form_is_named_and_not_shown(tmp_path: Path) -> None:
    toml(tmp_path, "rpc_url = 17\n")
    with pytest.raises(InvalidInput, match="rpc_url") as caught:
        Settings.load()
    assert "17" not in str(caught.value)


@pytest.mark.parametrize("text", ["home = ", "\x00", "home = '/a'\nhome = '/b'\n"])
def test_a_broken_toml_file_is_an_error(tmp_path: Path, text: str) -> None:
    toml(tmp_path, text)
    with pytest.raises(InvalidInput, match="cannot be read"):
        Settings.load()


def test_the_page_of_settings_is_written_from_their_declarations() -> None:
    assert PAGE.read_text() == document(), "python -c 'from core.settings import document; print(document(), end=\"\")'"
