-- Which builds may run on this schema: those that know this migration. A migration that a running daemon of the version before could not bear
-- raises it, and is applied only when no such daemon is left; see CONTRIBUTING.md. Until then a replica may start again on a schema that is newer
-- than itself, as it has to while an upgrade goes from replica to replica.

alter table analytics.settings add column oldest_compatible integer not null default 28;
