"""The P-CSCF (TS 24.229 clause 5.2): the phone's first hop. Nothing that a phone claims passes it unchecked."""
