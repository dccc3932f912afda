"""arXiv: RSS for the newest day, the API for single papers, OAI-PMH for days that were missed."""
