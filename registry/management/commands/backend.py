"""`manage.py backend add | list | show | test | edit | rm | import`: other servers that answer requests.

Needs no running server; one that runs follows within two seconds. Everything prints JSON with `--json`. Keys come from
standard input or a variable, never from an argument, and are shown nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from msgspec import structs

from inference.errors import BadRequest
from registry import backend_files, backend_import, backend_probe, backends
from registry.backend_import import Imported
from registry.backend_probe import Answered, Failed
from registry.management import backend_options
from registry.management.verb_command import VerbCommand
from registry.models import Backend
from registry.sealing import SealBroken

HEAD = ("NAME", "PROTOCOL", "ADDRESS", "KEY", "CLASS", "PRIORITY", "MODELS", "ENABLED", "NOTE")
SOON = "a running server follows within two seconds"


class Command(VerbCommand):
    help = "Add, test, change and remove other servers."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(
            dest="verb", metavar="add | list | show | test | edit | rm | import", required=True
        )
        add = verbs.add_parser("add", help="a further server")
        backend_options.add_fields(add, new=True)
        listing = verbs.add_parser("list", help="every server")
        show = verbs.add_parser("show", help="everything known of one; its key is not shown")
        show.add_argument("name")
        test = verbs.add_parser("test", help="ask it for its models, and with --model for a short answer")
        test.add_argument("name")
        test.add_argument("--model", default="", help="by its name here or there")
        edit = verbs.add_parser("edit", help="change what is given, and nothing else")
        backend_options.add_fields(edit, new=False)
        rm = verbs.add_parser("rm", help="forget servers")
        rm.add_argument("names", nargs="+", metavar="name")
        rm.add_argument("--yes", action="store_true", help="do not ask")
        load = verbs.add_parser("import", help="take servers from a file, Ollama Proxy's config.yaml too")
        load.add_argument("file", type=Path, help="YAML or JSON; keys in it may be ${VARIABLE}")
        load.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")
        self.add_verb(add, self.add)
        self.add_verb(listing, self.list_backends)
        self.add_verb(show, self.show)
        self.add_verb(test, self.test)
        self.add_verb(edit, self.edit)
        self.add_verb(rm, self.remove)
        self.add_verb(load, self.load)

    def add(self, *, name: str, as_json: bool, **options: Any) -> None:
        row = Backend(name=name)
        backend_options.fill(row, options)
        row.save(force_insert=True)
        self._tell(row, as_json, f"added {row.name}; `manage.py backend test {row.name}` asks it, {SOON}")

    def edit(self, *, name: str, as_json: bool, **options: Any) -> None:
        row = backends.find(name)
        backend_options.fill(row, options)
        row.save()
        self._tell(row, as_json, f"changed {row.name}; {SOON}")

    def list_backends(self, *, as_json: bool, **_: Any) -> None:
        rows = list(Backend.objects.all())
        if as_json:
            self.print_json([backends.facts(row) for row in rows])
        elif not rows:
            self.stdout.write('no other servers; "manage.py backend add NAME --protocol P --url U" adds one')
        else:
            self.print_table(HEAD, [_line(row) for row in rows])

    def show(self, *, name: str, as_json: bool, **_: Any) -> None:
        row = backends.find(name)
        known = backends.facts(row)
        if as_json:
            self.print_json(known)
            return
        for label, value in known.items():
            self.stdout.write(f"{label.replace('_', ' '):<16}{_shown(value)}")
        self._doubt(row)

    def test(self, *, name: str, model: str, as_json: bool, **_: Any) -> None:
        """Real calls, as requests make them. Ends with 1 when one fails."""
        row = backends.find(name)
        try:
            found = backend_probe.probe(row.spec(), model)
        except SealBroken as error:
            raise CommandError(str(error)) from None
        if as_json:
            self.print_json({"name": row.name, "ok": isinstance(found, Answered)} | structs.asdict(found))
        if isinstance(found, Failed):
            words, option = found.mend
            how = f": `manage.py backend edit {row.name} {option}`" if option else ""
            raise CommandError(f"{row.name}: {_plain(found.fault)}\n{words[0].upper()}{words[1:]}{how}")
        if not as_json:
            self._tell_found(row, found)
        self._doubt(row)

    def _tell_found(self, row: Backend, found: Answered) -> None:
        count = len(found.served)
        took = f"{found.latency_s * 1000:.0f} ms"
        self.stdout.write(
            f"{row.name}: {row.get_protocol_display()} at {row.url} answers in {took}, {count} models"
        )
        for name in found.served:
            self.stdout.write(f"  {_plain(name)}")
        if found.left_out:
            self.stdout.write(f"left out by its rules: {', '.join(map(_plain, found.left_out))}")
        if (reply := found.reply) is not None:
            tokens = "" if reply.completion_tokens is None else f", {reply.completion_tokens} tokens"
            self.stdout.write(f"{_plain(reply.model)} says {reply.text!r}")
            self.stdout.write(
                f"first token after {reply.first_s:.2f} s, all after {reply.total_s:.2f} s{tokens}"
            )

    def remove(self, *, names: list[str], yes: bool, as_json: bool, **_: Any) -> None:
        rows = [backends.find(name) for name in names]
        listed = ", ".join(row.name for row in rows)
        if not yes and not _agreed(f"Forget {listed}, and the keys with them? [y/N] "):
            raise CommandError("nothing was removed; --yes removes without asking")
        for row in rows:
            row.delete()
        if as_json:
            self.print_json([{"name": row.name, "removed": True} for row in rows])
        else:
            self.stdout.write(f"removed {listed}; {SOON}")

    def load(self, *, file: Path, dry_run: bool, as_json: bool, **_: Any) -> None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise BadRequest(f"{file} cannot be read ({error.strerror})", "file") from None
        done = backend_import.run(content, dry=dry_run)
        if as_json:
            self.print_json(_outcome(done, dry_run))
            return
        would = "would be " if dry_run else ""
        for verb, names in (("added", done.added), ("updated", done.updated)):
            if names:
                self.stdout.write(f"{would}{verb}: {', '.join(names)}")
        if not (done.added or done.updated):
            self.stdout.write("the file lists no servers")
        for what, words in done.notes:
            self.stdout.write(f"note: {what}: {words}")
        for path in done.unused:
            where = backend_files.elsewhere(path)
            self.stdout.write(f"not used: {path}" + (f" (here: {where})" if where else ""))

    def _tell(self, row: Backend, as_json: bool, words: str) -> None:
        if as_json:
            self.print_json(backends.facts(row))
        else:
            self.stdout.write(words)
        self._doubt(row)

    def _doubt(self, row: Backend) -> None:
        for words in backends.doubts(row):
            self.stderr.write(f"{row.name}: {words}")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _line(row: Backend) -> tuple[str, ...]:
    rules = row.supported.splitlines()
    return (
        *(row.name, row.get_protocol_display(), row.url, "set" if row.sealed_key else "–", row.kind),
        *("assumed" if row.priority is None else str(row.priority), ", ".join(rules) or "all"),
        *("yes" if row.enabled else "no", row.note),
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{ours} = {theirs}" for ours, theirs in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(value) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None or value == "" else str(value)


def _outcome(done: Imported, dry: bool) -> dict[str, Any]:
    return {
        "dry_run": dry,
        "added": list(done.added),
        "updated": list(done.updated),
        "unused": list(done.unused),
        "notes": [{"about": what, "words": words} for what, words in done.notes],
    }


def _plain(text: str) -> str:
    """What another server wrote, for a terminal: nothing in it moves the cursor or turns the line around."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
