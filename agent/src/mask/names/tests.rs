use super::*;

fn class(table: &str, column: &str, kind: Kind) -> Option<Class> {
    classify(&Named { table, column, kind, ..Named::default() }).map(|(class, _)| class)
}

#[test]
fn names_tell_in_many_ways_of_writing() {
    for (table, column, expected) in [
        ("", "email", Class::Email),
        ("", "customerEmail", Class::Email),
        ("", "E_MAIL_ADDRESS", Class::Email),
        ("", "useremail", Class::Email),
        ("", "email_id", Class::Email),
        ("", "courriel", Class::Email),
        ("", "phone_number", Class::Phone),
        ("", "MobileNo", Class::Phone),
        ("", "homephone", Class::Phone),
        ("", "téléphone", Class::Phone),
        ("", "first_name", Class::PersonName),
        ("", "Nachname", Class::PersonName),
        ("", "customer_name", Class::PersonName),
        ("customers", "name", Class::PersonName),
        ("", "prénom", Class::PersonName),
        ("", "shipping_address", Class::PostalAddress),
        ("", "straße", Class::PostalAddress),
        ("", "date_of_birth", Class::BirthDate),
        ("", "geburtsdatum", Class::BirthDate),
        ("", "ssn", Class::UsSsn),
        ("", "codice_fiscale", Class::ItFiscalCode),
        ("", "cc_number", Class::CreditCard),
        ("", "card_cvv", Class::CardVerification),
        ("", "client_ip", Class::IpAddress),
        ("", "ipAddress", Class::IpAddress),
        ("", "password_hash", Class::PasswordHash),
        ("", "hashed_password", Class::PasswordHash),
        ("", "api_key", Class::ApiKey),
        ("", "stripe_secret_key", Class::ApiKey),
        ("", "icd10_code", Class::Diagnosis),
        ("", "database_url", Class::ConnectionString),
        ("", "用户手机", Class::Phone),
        ("payments", "pan", Class::CreditCard),
        ("taxpayers", "pan", Class::InPan),
    ] {
        assert_eq!(class(table, column, Kind::Text), Some(expected), "{table}.{column}");
    }
    assert_eq!(class("", "latitude", Kind::Decimal), Some(Class::GeoPosition));
    assert_eq!(class("", "anything", Kind::Network), Some(Class::IpAddress));
    assert_eq!(class("pg_stats", "most_common_vals", Kind::Other), Some(Class::Opaque));
}

#[test]
fn names_that_mean_something_else_are_left() {
    for (table, column, kind) in [
        ("", "email_count", Kind::Integer),
        ("", "email_count", Kind::Text),
        ("", "email_verified", Kind::Bool),
        ("", "email_sent_at", Kind::Date),
        ("", "email_template", Kind::Text),
        ("", "email_status", Kind::Text),
        ("", "address_id", Kind::Integer),
        ("", "phone_type", Kind::Text),
        ("products", "name", Kind::Text),
        ("", "product_name", Kind::Text),
        ("", "file_name", Kind::Text),
        ("", "company_name", Kind::Text),
        ("", "table_name", Kind::Text),
        ("", "order_number", Kind::Text),
        ("", "id", Kind::Integer),
        ("", "customer_id", Kind::Integer),
        ("", "created_at", Kind::Time),
        ("", "zip", Kind::Text),
        ("", "tokens", Kind::Integer),
        ("", "password_changed_at", Kind::Time),
        ("", "description", Kind::Text),
        ("", "is_mobile", Kind::Bool),
        ("", "platform", Kind::Text),
        ("", "shipping_cost", Kind::Decimal),
    ] {
        assert_eq!(class(table, column, kind), None, "{table}.{column}");
    }
    assert!(innocent("order_number") && innocent("tracking_no") && !innocent("notes"));
}

#[test]
fn a_comment_and_a_type_can_tell() {
    let named =
        Named { column: "c7", comment: "customer's e-mail", kind: Kind::Text, ..Named::default() };
    assert_eq!(classify(&named), Some((Class::Email, Evidence::Comment)));
    let named = Named { column: "c7", type_name: "email_address", ..named };
    assert_eq!(classify(&named), Some((Class::Email, Evidence::Type)));
}
