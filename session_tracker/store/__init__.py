"""Where the tracker keeps what it knows: SQLite by default, PostgreSQL by URL."""
