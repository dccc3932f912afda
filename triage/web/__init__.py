"""The pages behind the links of a mail: GET shows, POST acts, nothing here knows who you are.

app ─ routes, errors ─┬─ home, papers, votes, unsubscribe     one module a noun
                      ├─ pages     templates to responses
                      └─ guard     headers, body limit, a log without tokens
"""

from triage.web.app import create_app

__all__ = ["create_app"]
