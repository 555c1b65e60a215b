"""Identity into the database and spans out of it, at the driver: below SQLAlchemy's ORM and Core as below bare SQL."""
