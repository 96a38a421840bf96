//! A broker that speaks the protocol of Apache Kafka, and topics of its own for each test.
