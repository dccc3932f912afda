"""The pages: sign-up, votes, preferences, search, feeds. GET shows, POST acts.

In: HTTP requests. Out: pages, stored votes and sign-ups.

Begin with `app`, which has the routes; the other modules are one page or group of pages each, but
`middleware` (headers, body limit, request log), `context` (what every page needs), `forms` and
`login_cookie`.
"""

from triage.web.app import create_app

__all__ = ["create_app"]
