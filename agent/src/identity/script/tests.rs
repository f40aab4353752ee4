use super::*;

fn of_line(exe: &str, line: &str) -> Option<String> {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    of(Some(Path::new(exe)), &arguments, Some(Path::new("/srv/app")))
}

#[test]
fn scripts_of_every_interpreter() {
    for (exe, line, expected) in [
        ("/usr/bin/python3.11", "python3 etl.py --day 1", Some("/srv/app/etl.py")),
        ("/usr/bin/python3.11", "python3 -u -W ignore -X dev ./etl.py", Some("/srv/app/etl.py")),
        ("/usr/bin/python3.11", "python3 -m airflow scheduler", Some("-m airflow")),
        ("/usr/bin/python3.11", "python3 -mairflow", Some("-m airflow")),
        ("/usr/bin/python3.11", "python3 -c import-x etl.py", Some("-c")),
        ("/usr/bin/python3.11", "python3 -Ic import-x", Some("-c")),
        (
            "/usr/bin/python3.11",
            "/usr/bin/python3 /usr/local/bin/dbt run",
            Some("/usr/local/bin/dbt"),
        ),
        ("/usr/bin/python3.11", "python3 -", None),
        ("/usr/bin/python3.11", "python3", None),
        ("/opt/pypy/bin/pypy3", "pypy3 x.py", Some("/srv/app/x.py")),
        (
            "/usr/bin/node",
            "node --inspect --require ts-node/register server.js",
            Some("/srv/app/server.js"),
        ),
        ("/usr/bin/node", "node -e 1+1", Some("-c")),
        (
            "/usr/bin/node",
            "/usr/bin/node /usr/lib/node_modules/npm/bin/npm-cli.js run x",
            Some("/usr/lib/node_modules/npm/bin/npm-cli.js"),
        ),
        ("/usr/bin/deno", "deno run main.ts", Some("/srv/app/main.ts")),
        // By the standard input, with arguments; and by the folders of programs.
        ("/usr/bin/bash", "sh -s -- install", None),
        ("/usr/bin/bash", "bash -x -s stable", None),
        ("/usr/bin/ruby3.1", "ruby -S rake db:migrate", Some("rake")),
        ("/usr/bin/ruby3.1", "ruby -S -w rake", Some("rake")),
        ("/usr/bin/perl", "perl -S ack", Some("ack")),
        // A script's address may hold credentials.
        (
            "/usr/bin/deno",
            "deno run https://deploy:hunter2@git.example/main.ts?token=hunter2",
            Some("https://deploy:***@git.example/main.ts?token=***"),
        ),
        (
            "/usr/lib/jvm/17/bin/java",
            "java -jar https://u:hunter2@h/a.jar",
            Some("https://u:***@h/a.jar"),
        ),
        (
            "/usr/lib/jvm/17/bin/java",
            "java -Xmx1g -cp a.jar:b.jar com.shop.Main --x",
            Some("com.shop.Main"),
        ),
        (
            "/usr/lib/jvm/17/bin/java",
            "java -javaagent:/x.jar -jar app.jar",
            Some("/srv/app/app.jar"),
        ),
        (
            "/usr/lib/jvm/17/bin/java",
            "java -p mods -m shop/com.shop.Main",
            Some("-m shop/com.shop.Main"),
        ),
        ("/usr/lib/jvm/17/bin/java", "java Client.java 5432", Some("/srv/app/Client.java")),
        ("/usr/bin/ruby3.1", "ruby -w -I lib bin/rails console", Some("/srv/app/bin/rails")),
        ("/usr/bin/perl", "perl -w -ne print x", Some("-c")),
        (
            "/usr/bin/perl",
            "/usr/bin/perl -w /usr/bin/pg_ctlcluster",
            Some("/usr/bin/pg_ctlcluster"),
        ),
        ("/usr/bin/php8.2", "php -d memory_limit=1G artisan queue:work", Some("/srv/app/artisan")),
        ("/usr/bin/php8.2", "php -f x.php", Some("/srv/app/x.php")),
        ("/bin/bash", "/bin/bash ./nightly.sh", Some("/srv/app/nightly.sh")),
        ("/bin/bash", "bash -lc psql", Some("-c")),
        ("/bin/bash", "bash -o pipefail -e x.sh", Some("/srv/app/x.sh")),
        ("/bin/dash", "/bin/sh -e /etc/cron.daily/backup", Some("/etc/cron.daily/backup")),
        ("/bin/bash", "-bash", None),
        ("/bin/busybox", "sh /x.sh", Some("/x.sh")),
        ("/bin/busybox", "busybox sh -c ls", Some("-c")),
        ("/bin/busybox", "wget http://h", None),
        ("/usr/lib/R/bin/exec/R", "R --no-echo --file=model.R", Some("/srv/app/model.R")),
        ("/usr/lib/postgresql/15/bin/psql", "psql shop", None),
    ] {
        assert_eq!(of_line(exe, line).as_deref(), expected, "{line}");
    }
    assert_eq!(of(None, &["python3".into(), "x.py".into()], None).as_deref(), Some("x.py"));
    assert_eq!(of(None, &[], None), None);
}
