"""The query service with one more route. Its trivial query is the lower bound of a read."""

import uvloop
from litestar import Response, get
from msgspec import Struct

from deploy.serving import serve
from ledger.books.reader import Reader
from ledger.runtime.settings import settings_from
from services.app import application
from services.http.parameters import PREFIX, Community, MinPosition, community_of
from services.http.position_header import with_position


class Bare(Struct):
    community: str


async def main() -> None:
    settings = settings_from()
    app = application("query", settings)
    async with Reader(settings.books, settings.postgres_pool_max) as reader:

        @get(f"{PREFIX}/bare", include_in_schema=False)
        async def bare(community: Community, min_position: MinPosition = 0) -> Response[Bare]:
            tenant = community_of(community)
            await reader.wait_for_position(min_position)
            return with_position(Bare(tenant), await reader.position())

        app.asgi.register(bare)
        await serve(app, settings.host, settings.port)


if __name__ == "__main__":
    uvloop.run(main())
