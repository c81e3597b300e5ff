"""The contracts' events in the database: `layout` reads logs, `records` keeps them, `indexer` follows the chain."""
