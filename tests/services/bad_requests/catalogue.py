"""All bad requests, for every test that needs one of each kind."""

from tests.services.bad_requests.case import BadRequest
from tests.services.bad_requests.forms import bad_addresses, bad_bodies, bad_fields, bad_headers
from tests.services.bad_requests.queries import bad_batches, bad_lists, bad_queries
from tests.services.bad_requests.rules import bad_disputes, bad_meetings, bad_members, bad_policies, refused_steps
from tests.services.bad_requests.subjects import Subjects


def every_bad_request(about: Subjects) -> list[BadRequest]:
    """Return all bad requests about these aggregates."""
    return [
        *bad_bodies(),
        *bad_fields(),
        *bad_headers(about),
        *bad_addresses(about),
        *refused_steps(about),
        *bad_disputes(about),
        *bad_members(about),
        *bad_meetings(about),
        *bad_policies(),
        *bad_queries(),
        *bad_lists(),
        *bad_batches(),
    ]
