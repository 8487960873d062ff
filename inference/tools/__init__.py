"""How models write calls of tools: a family of models a file, and a table that finds a model's family."""
