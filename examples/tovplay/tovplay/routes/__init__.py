from . import games, login, operations, pages, players, requests, sessions

blueprints = [module.blueprint for module in (pages, login, players, games, requests, sessions, operations)]
