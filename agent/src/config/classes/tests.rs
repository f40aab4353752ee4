use super::*;

const CLASSES: [&str; 3] = ["email", "phone", "us_ssn"];

fn word(column: &str, class: Option<&str>, database: Option<&str>) -> ColumnWord {
    let [schema, table, column] = column_name(column).unwrap();
    let (class, database) = (class.map(str::to_owned), database.map(str::to_owned));
    ColumnWord { server: None, database, schema, table, column, class }
}

#[test]
fn columns_are_written_as_in_sql() {
    let read = |text: &str| column_name(text).map(|names| names.join("|"));
    assert_eq!(read("public.Customers.email").unwrap(), "public|customers|email");
    assert_eq!(read("public.\"Customers\".\"e.\"\"m\"").unwrap(), "public|Customers|e.\"m");
    assert_eq!(read("public.\"two words\".größe").unwrap(), "public|two words|größe");
    for wrong in ["", "a", "a.b", "a.b.c.d", "a..c", "a.b.", "a.\"b.c", "a.b\"x\".c", "a.b c.d"] {
        let told = read(wrong).unwrap_err();
        assert!(told.starts_with(&format!("`{wrong}` is no column: write ")), "{told}");
    }
    for text in ["public.customers.email", "\"A\".\"1st\".\"x\"\"y\"", "\"größe\".b.c"] {
        assert_eq!(written(&word(text, None, None)), text);
    }
}

#[test]
fn what_is_written_is_read() {
    let list = vec![
        word("public.t.code", Some("email"), None),
        word("public.\"T \\ \n x\".\"c\"\"\"", None, Some("a \"b\"")),
        ColumnWord { server: Some("5432".into()), ..word("a.b.c", Some("phone"), None) },
    ];
    assert_eq!(parse(&text(&list), "classes", &CLASSES).unwrap(), list);
}

#[test]
fn it_is_replaced_whole_and_not_taken_from_others() {
    let folder = std::env::temp_dir().join(format!("tidegate-classes-{}", std::process::id()));
    let path = folder.join("classes.toml");
    assert_eq!(read(&path, &CLASSES).unwrap(), []);
    let (a, b) = (word("public.a.x", Some("email"), None), word("public.b.x", None, None));
    change(&path, &CLASSES, |list| list.push(b.clone())).unwrap();
    change(&path, &CLASSES, |list| list.push(a.clone())).unwrap();
    assert_eq!(read(&path, &CLASSES).unwrap(), [a, b]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o664);
    fs::set_permissions(&path, open).unwrap();
    assert!(read(&path, &CLASSES).unwrap_err().to_string().contains("chmod go-w"));
    assert!(change(&path, &CLASSES, Vec::clear).is_err());
    assert!(read(&folder, &CLASSES).unwrap_err().to_string().contains("no regular file"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn all_mistakes_are_told_with_their_lines() {
    let text = "[[class]]\ncolumn = \"public.t.x\"\nclas = \"email\"\n\n\
                [[class]]\ncolumn = \"t.x\"\nclass = \"emial\"\n\n\
                [[class]]\ncolumn = \"public.t.x\"\nclass = \"none\"\ndatabase = 5\n\n\
                [[class]]\ncolumn = \"public.T.x\"\nclass = \"email\"\n\n[classes]\n";
    let told = parse(text, "classes", &CLASSES).unwrap_err().to_string();
    assert_eq!(
        told,
        "classes:1:1: a word on a column needs `class`\n\
         classes:3:8: unknown key `clas`: did you mean `class`?\n\
         classes:6:10: `column`: `t.x` is no column: write `schema.table.column`, with double \
         quotes around names that hold capitals or signs\n\
         classes:7:9: `class`: unknown class `emial`: did you mean `email`?\n\
         classes:12:12: `database`: it must be a text that isn't empty\n\
         classes:14:1: `public.t.x` stands here twice\n\
         classes:18:1: unknown table `classes`: did you mean `[[class]]`?"
    );
    let broken = parse("[[class]\n", "classes", &CLASSES).unwrap_err().to_string();
    assert!(broken.starts_with("classes:1:"), "{broken}");
}
