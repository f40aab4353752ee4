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
        (
            "/home/a/.pyenv/versions/3.12.1/bin/python3.12",
            "/srv/venv/bin/python -I /srv/venv/bin/gunicorn -w 4 shop:app",
            Some("/srv/venv/bin/gunicorn"),
        ),
        (
            "/home/a/.local/share/uv/python/cpython-3.12/bin/python3.12",
            "/srv/app/.venv/bin/python3 -m celery -A shop worker",
            Some("-m celery"),
        ),
        ("/usr/bin/python3.11", "gunicorn:-worker-[shop:app]", None),
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

/// Options that take an argument of their own, letters that stand together, and what
/// only looks like either.
#[test]
fn an_options_own_argument_is_no_script() {
    let of = |exe: &str, options: &str| of_line(exe, &format!("{exe} {options}"));
    let script = Some("/srv/app/x".to_owned());
    for (exe, options) in [
        (
            "python3",
            &[
                "-W ignore",
                "-X dev",
                "-uX dev",
                "-OOW ignore",
                "-Wignore",
                "-Xdev",
                "-bb",
                "-x",
                "--check-hash-based-pycs always",
            ][..],
        ),
        (
            "node",
            &[
                "--watch-path ./src",
                "--unhandled-rejections strict",
                "--watch --watch-path=./src",
                "-C dev -r ./y.js",
                "--title shop",
                "--inspect-port 9230",
                "--inspect=9230",
                "--env-file .env",
                "--test-reporter dot",
                "--enable-source-maps",
                "inspect",
                "--max-old-space-size=4096",
                "--icu-data-dir /i",
                "-i",
                "--check",
            ],
        ),
        (
            "ruby",
            &[
                "-I lib",
                "-Ilib",
                "-wI lib",
                "-r json",
                "-rjson",
                "-ruri",
                "-C /tmp",
                "-X /tmp",
                "-E UTF-8",
                "-Ku",
                "-W0",
                "-W:no-deprecated",
                "-w -s",
                "-i.bak",
                "-x",
                "-l0",
                "--encoding UTF-8",
                "--external-encoding=UTF-8",
                "--internal-encoding UTF-8",
                "--backtrace-limit 3",
                "--yjit-call-threshold=3",
                "--enable=gems",
                "--disable gems",
                "--dump=insns",
                "--",
            ],
        ),
        (
            "perl",
            &[
                "-I lib",
                "-Ilib",
                "-wI lib",
                "-MEncode",
                "-MList::Util=sum",
                "-mEncode",
                "-CSDE",
                "-C7",
                "-0777",
                "-l012",
                "-d:NYTProf",
                "-Dtls",
                "-F:",
                "-i.bake",
                "-x",
                "-T -w",
                "--",
            ],
        ),
        (
            "bash",
            &[
                "-O extglob",
                "+O extglob",
                "-o pipefail",
                "-eo pipefail",
                "-euo pipefail",
                "-euxo pipefail",
                "-eo pipefail -o nounset",
                "+eo pipefail",
                "-norc",
                "-noprofile",
                "-posix",
                "--rcfile /r",
                "-rcfile /r",
                "--init-file /r",
                "--norc",
                "-",
                "--",
                "-x",
                "-xO extglob",
                "-login",
                "-restricted",
            ],
        ),
        ("dash", &["-e", "-eu", "-o errexit", "-eo nounset", "--"]),
        ("deno", &["run -c deno.json", "run --allow-net", "run --import-map i.json"]),
        ("bun", &["run --cwd /srv", "-r ./y.ts", "--watch"]),
        ("php", &["-d a=b", "-da=b", "-c /etc/php.ini"]),
    ] {
        for option in options {
            assert_eq!(of(exe, &format!("{option} x a b")), script, "{exe} {option}");
        }
    }
    for (exe, options, found) in [
        ("python3", "-um http.server 80", Some("-m http.server")),
        ("python3", "-Imhttp.server 80", Some("-m http.server")),
        ("python3", "-Xdev -c code x", Some("-c")),
        ("node", "--eval=1+1 x", Some("-c")),
        ("node", "-pe 1+1 x", Some("-c")),
        ("node", "--run build", None),
        ("ruby", "-rjson -ne code x", Some("-c")),
        ("ruby", "-wS rake x", Some("rake")),
        ("perl", "-0777ne code x", Some("-c")),
        ("perl", "-lane code x", Some("-c")),
        ("perl", "-MEncode -pi -e code x", Some("-c")),
        ("perl", "-CSDe code x", Some("-c")),
        ("perl", "-de0 x", Some("-c")),
        ("bash", "-euo pipefail -c code x", Some("-c")),
        ("bash", "-euoc pipefail code x", Some("-c")),
        ("bash", "-es x", None),
        ("deno", "eval-of-nothing", Some("/srv/app/eval-of-nothing")),
    ] {
        assert_eq!(of(exe, options).as_deref(), found, "{exe} {options}");
    }
}

#[test]
fn javas_class_may_stand_in_a_file_of_arguments() {
    for (options, found) in [
        ("@opts 8080", "@/srv/app/opts"),
        ("@opts", "@/srv/app/opts"),
        ("-Xmx1g @/etc/jvm.options com.shop.Main", "@/etc/jvm.options"),
        ("@a @b -Dx=y 8080", "@/srv/app/a"),
        ("@jvm.options -jar app.jar", "/srv/app/app.jar"),
        ("@jvm.options -m shop/com.shop.Main", "-m shop/com.shop.Main"),
        ("com.shop.Main @list", "com.shop.Main"),
        ("-disable-@files @odd Main", "@odd"),
        ("-cp a.jar --add-opens java.base/x=ALL-UNNAMED Main", "Main"),
        ("--add-reads a=b --limit-modules a --patch-module a=b Main", "Main"),
        ("--upgrade-module-path u --enable-native-access a Main", "Main"),
        ("-p mods --add-modules a --add-exports a/b=c Main", "Main"),
        ("-classpath a --class-path b --module-path c Main", "Main"),
        ("--source 17 tool 8080", "/srv/app/tool"),
        ("-ea -javaagent:a.jar -XX:+UseSerialGC -splash:x Main", "Main"),
    ] {
        let line = format!("java {options}");
        assert_eq!(of_line("/usr/bin/java", &line).as_deref(), Some(found), "{options}");
    }
}
