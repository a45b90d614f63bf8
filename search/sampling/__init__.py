"""Choose the candidates that a study starts with and those that it proposes next."""
