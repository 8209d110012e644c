"""Moving studies and runs between stores: export to a folder, import from one."""
