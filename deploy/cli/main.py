"""The command group `referral-ledger`."""

import click

from deploy.cli.import_file import import_file
from deploy.cli.migrate import migrate
from deploy.cli.provision import provision
from deploy.cli.serve import serve
from deploy.cli.up import up
from deploy.cli.verify import verify
from deploy.cli.work import work


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="referral-ledger")
def main() -> None:
    """Run and operate the referral ledger.

    Settings are environment variables that begin with LEDGER_. docs/settings.md lists them. While `up` runs in a
    folder, the other commands in that folder use its servers.
    """


for command in (up, serve, work, migrate, provision, import_file, verify):
    main.add_command(command)
