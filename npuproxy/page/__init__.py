"""The pages of this server: status and playground. One picture for the first paint and for what moves."""
