"""The test phone: a software ISIM, registration, calls and messages, as a handset does them (TS 24.229 5.1)."""
