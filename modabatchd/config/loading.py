"""From a file and the environment to the settings, with every mistake at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote

import msgspec

from modabatchd.config.document import Document, Key, SyntaxProblem, parse
from modabatchd.config.kinds import Kind
from modabatchd.config.settings import Settings
from modabatchd.errors import ConfigurationError

_PREFIX: Final = "MODABATCH_"
_TESTS: Final = "MODABATCH_TEST_"
_CURE: Final = "conf/modabatchd.toml explains every key."
S = TypeVar("S", bound=msgspec.Struct)


def keys() -> dict[Key, Kind]:
    """Every setting there is, and how it is read."""
    return dict(_keys(Settings, ()))


def load(path: Path | None, environ: Mapping[str, str], listen: str | None = None) -> Settings:
    """
    Read the settings: the defaults, the file over them, the environment over it, the command line over all.

    @param path: a TOML file; without one there are only defaults.
    @param environ: C{MODABATCH_QUEUE__POLL_INTERVAL=2} sets C{queue.poll_interval}; C{MODABATCH_TEST_...} is left alone.
    @param listen: the value of the option C{--port}.
    @raise ConfigurationError: its cause has one line for each mistake: where, which key, what is wrong, what would be right.
    """
    reading = _Reading()
    if path is not None:
        reading.file(path)
    reading.environment(environ)
    if listen is not None:
        reading.setting(("http", "listen"), listen, "--port")
    if reading.mistakes:
        raise ConfigurationError("\n".join(reading.mistakes), _CURE)
    return _with_places(_build(Settings, reading.values, ()), environ)


class _Reading:
    """Collects values and mistakes."""

    def __init__(self) -> None:
        self._kinds = keys()
        self._variables = {_PREFIX + "__".join(key).upper(): key for key in self._kinds}
        self.values: dict[Key, Any] = {}
        self.mistakes: list[str] = []

    def file(self, path: Path) -> None:
        """Read a file."""
        try:
            document = parse(path.read_bytes().decode("utf-8"))
        except OSError as problem:
            self.mistakes.append(f"{path}: cannot be read: {problem.strerror or problem}")
        except UnicodeDecodeError as problem:
            line = problem.object[: problem.start].count(b"\n") + 1
            self.mistakes.append(f"{path}:{line}: this is not UTF-8 (TOML is always written in it)")
        except SyntaxProblem as problem:
            self.mistakes.append(f"{path}:{problem.line}: this is not TOML: {problem}")
        else:
            self._table(document, path, (), document.tables)

    def environment(self, environ: Mapping[str, str]) -> None:
        """Read the variables that are ours."""
        for name in sorted(environ):
            if not name.startswith(_PREFIX) or name.startswith(_TESTS):
                continue
            if name in self._variables:
                self._variable(name, environ[name])
            else:
                self.mistakes.append(f"{name}: there is no such setting{_meant(name, self._variables)}")

    def setting(self, key: Key, value: object, where: str) -> bool:
        """
        Read one value.

        @param where: where it stands, for the mistake.
        @return: whether it fits.
        """
        kind = self._kinds[key]
        try:
            self.values[key] = kind.read(value)
        except ValueError as problem:
            self.mistakes.append(f"{where}: {problem} (expected {kind.expected})")
            return False
        return True

    def _table(self, document: Document, path: Path, table: Key, entries: Mapping[str, object]) -> None:
        for name, value in entries.items():
            key = (*table, name)
            where = f"{path}:{document.line(key)}: {_shown(key)}"
            if key in self._kinds:
                self.setting(key, value, where)
            elif not self._is_table(key):
                self.mistakes.append(f"{where}: there is no such setting{self._meant(key)}")
            elif isinstance(value, dict):
                self._table(document, path, key, value)
            else:
                self.mistakes.append(f"{where}: this is a table, not a value (expected [{'.'.join(key)}] on a line of its own)")

    def _variable(self, name: str, text: str) -> None:
        """Read a variable as TOML if it is TOML that fits, else as the text it is."""
        before = len(self.mistakes)
        value = _from_toml(text)
        if not self.setting(self._variables[name], value, name) and value != text:
            del self.mistakes[before:]
            self.setting(self._variables[name], text, name)

    def _is_table(self, key: Key) -> bool:
        return any(known[: len(key)] == key for known in self._kinds)

    def _meant(self, key: Key) -> str:
        """A guess at what a wrong key should have been: a name like it in its table, or the same name in another one."""
        known = {".".join(known[:length]) for known in self._kinds for length in range(1, len(known) + 1)}
        elsewhere = [name for name in sorted(known) if name.rpartition(".")[2] == key[-1]]
        return f" (did you mean {elsewhere[0]}?)" if elsewhere else _meant(".".join(key), known)


def _shown(key: Key) -> str:
    return ".".join(name if name.isidentifier() else repr(name) for name in key)


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _from_toml(text: str) -> object:
    """The value of a variable; a text that is not one TOML value stands for itself."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return tables["value"] if len(tables) == 1 else text


def _keys(struct: type[msgspec.Struct], table: Key) -> Iterator[tuple[Key, Kind]]:
    for name, hint in get_type_hints(struct, include_extras=True).items():
        if get_origin(hint) is Annotated:
            yield (*table, name), get_args(hint)[1]
        else:
            yield from _keys(hint, (*table, name))


def _build(struct: type[S], values: Mapping[Key, Any], table: Key) -> S:
    """A struct from the values that were given, and its defaults."""
    given = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        key = (*table, name)
        if get_origin(hint) is not Annotated:
            given[name] = _build(hint, values, key)
        elif key in values:
            given[name] = values[key]
    return struct(**given)


def _with_places(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Fill in the places that have a default which depends on others."""
    replace = msgspec.structs.replace
    home = settings.daemon.directory if settings.daemon.directory != Path() else _state_directory(environ)
    spool = settings.spool.directory if settings.spool.directory != Path() else home / "spool"
    url = settings.store.url or "sqlite:///" + quote(str(home / "modabatchd.sqlite"))
    return replace(
        settings,
        daemon=replace(settings.daemon, directory=home),
        spool=replace(settings.spool, directory=spool),
        store=replace(settings.store, url=url),
    )


def _state_directory(environ: Mapping[str, str]) -> Path:
    """What systemd made for us, or the place that the XDG base directory specification gives to state."""
    if of_systemd := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(of_systemd)
    of_user = Path(environ.get("XDG_STATE_HOME", ""))
    if not of_user.is_absolute():
        of_user = Path(environ.get("HOME") or Path.home()) / ".local/state"
    return of_user / "modabatchd"
