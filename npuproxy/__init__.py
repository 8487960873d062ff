"""npuproxy serves local language models to programs that speak Ollama, OpenAI or Anthropic."""
