"""How long the control process may take to end, once it's told to; the supervisor waits for it."""

ANSWERING_SECONDS = 0.5
"""Time for answers under way; a scrape takes milliseconds."""

CLOSING_SECONDS = 0.1
"""Time for the friends' store to be closed in; it is safe against being killed, too."""

ENDING_SECONDS = ANSWERING_SECONDS + CLOSING_SECONDS
"""Both."""
