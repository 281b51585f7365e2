// SQLiteStore: being built.
