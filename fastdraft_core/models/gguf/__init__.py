"""GGUF files, the models of llama.cpp, Ollama and LM Studio: where they lie, what they hold, and how they are imported."""
