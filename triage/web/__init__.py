"""Answers HTTP requests with pages, and accepts votes and sign-ups. GET shows, POST changes.

In: HTTP requests. Out: pages, stored votes and stored sign-up requests.

Begin with `app`, which has the routes. `middleware` (headers, limits, request log),
`shorter_answers` (compression, ETags), `static_files` (style sheet, script), `context` (what all
pages need), `forms`, `form_timestamp`, `login_cookie`, `flash`, `cards` and `cache` help the pages.
Each other module is one page or one group of pages.
"""

from triage.web.app import create_app

__all__ = ["create_app"]
