"""Studies at given times: each firing begun once, whoever else schedules, gone on with after a stop, and compared."""
