//! Where a person or a program talks to us; the only code that prints or exits.
