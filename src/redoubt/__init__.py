"""Redoubt: a secure IMS core. The clauses that each folder implements are named in its modules."""
