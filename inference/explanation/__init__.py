"""Why a model says what it says: what matters to it, how species respond, and the protocol of how it was made."""
