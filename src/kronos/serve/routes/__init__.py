"""The routes: thin, each a question to one of the server's parts."""
