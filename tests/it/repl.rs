//! The prompt, through a pipe: statements and commands in, answers out.
