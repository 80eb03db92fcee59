"""Every command of the README runs, as it stands there but for ports and folders."""

import os
import re
import subprocess
import tempfile
import unittest

import support


def blocks(language):
    with open(os.path.join(support.ROOT, "README.md")) as file:
        return re.findall(rf"```{language}\n(.*?)```", file.read(), re.S)


class Readme(support.ServiceTestCase):
    def port(self, name):
        return self.service.file[name].rsplit(":", 1)[1]

    def test_the_python_client(self):
        (code,) = blocks("python")
        self.assertEqual(len(code.strip().splitlines()), 6)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code.replace(":5570", ":" + self.port("tasks"))], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("In the"), done.stdout)

    def test_the_sql(self):
        client = self.service.client()
        client.generate(model="demo", prompt="the", max_length=12)
        (query,) = blocks("sql")
        self.assertGreater(len(self.service.sql(query.rstrip().rstrip(";"))), 0)
        with open(os.path.join(support.ROOT, "README.md")) as file:
            (statement,) = re.findall(r"`(SELECT scriptorium\.submit.*?)`", file.read())
        status = client.result(self.service.sql(statement)[0][0], 30)
        self.assertEqual(status["state"], "succeeded")

    def test_the_library_example(self):
        (code,) = blocks("swift")
        self.assertLessEqual(len(code.strip().splitlines()), 10)
        # The very block is a program of this package, which `swift build` compiles.
        with open(os.path.join(support.ROOT, "Tests", "ReadmeExample", "main.swift")) as file:
            self.assertEqual(file.read(), code)
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.path.join(support.FIXTURES, "gpt2"), os.path.join(folder, "my-model"))
            os.symlink(os.path.join(support.FIXTURES, "corpus.txt"), os.path.join(folder, "my-texts.txt"))
            program = os.path.join(os.path.dirname(support.PROGRAM), "readme-example")
            done = subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertGreaterEqual(done.stdout.count("In the"), 3, done.stdout)
            self.assertRegex(done.stdout.splitlines()[-1], r"^100 \d+\.\d+$")
            self.assertIn("model.safetensors", os.listdir(os.path.join(folder, "my-finetune")))

    def test_the_shell_commands(self):
        shell = "".join(blocks("sh"))
        for command in ("./ops/demo", "./ops/test"):
            self.assertIn(command, shell)
            self.assertTrue(os.access(os.path.join(support.ROOT, command), os.X_OK))
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.path.join(support.FIXTURES, "gpt2"), os.path.join(folder, "my-model"))
            os.symlink(self.service.data, os.path.join(folder, ".scriptorium"))
            environment = support.environment(PATH=os.path.dirname(support.PROGRAM) + ":" + os.environ["PATH"])
            for line in shell.splitlines():
                if line.startswith(("scriptorium model", "scriptorium submit")):
                    done = subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
                    self.assertEqual(done.returncode, 0, line + "\n" + done.stderr)

    def test_the_demo_begins_with_whole_characters_of_a_text(self):
        with open(os.path.join(support.ROOT, "ops/demo")) as file:
            (line,) = re.findall(r"^ *(prompt=\$\(.*\))$", file.read(), re.M)
        texts = [
            ("In the\n beginning God created", "In the beginning"), ("\ufeff  one", "one"), ("\u6625\u7720\u4e0d\u89c9\u6653" * 90, None), ("a\U0001f600" * 90, None),
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "text")
            for text, wanted in texts:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                for locale in ("C", "C.UTF-8"):
                    said = subprocess.run(
                        ["bash", "-ec", f'text={path}; {line}; printf %s "$prompt"'], capture_output=True, env={**os.environ, "LC_ALL": locale}
                    )
                    self.assertEqual(said.returncode, 0, said.stderr)
                    prompt = said.stdout.decode()
                    self.assertTrue(prompt == wanted if wanted else text.startswith(prompt), prompt)
                    self.assertIn(len(said.stdout), range(3, 41))

    def test_scaling_out(self):
        (block,) = [b for b in blocks("sh") if "scriptorium worker" in b]
        commands = block.replace("\\\n", " ").strip().splitlines()
        self.assertEqual(len(commands), 2)
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(self.service.data, os.path.join(folder, ".scriptorium"))
            environment = support.environment(
                PATH=os.path.dirname(support.PROGRAM) + ":" + os.environ["PATH"], DATABASE_URL=self.service.file["database_url"]
            )
            for command in commands:
                command = command.replace("127.0.0.1:5572 ", f"127.0.0.1:{self.port('workers')} ").replace("/tmp/", folder + "/")
                command = re.sub(r"127\.0\.0\.1:558[0-4]", "127.0.0.1:0", command)
                process = subprocess.Popen(
                    ["sh", "-c", "exec " + command], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
            support.wait_until(lambda: self.service.sql("SELECT count(*) FROM scriptorium.workers")[0][0] == 2, 30, "the second worker")
            support.wait_until(lambda: self.service.sql("SELECT count(*) FROM scriptorium.brokers")[0][0] == 2, 30, "the second broker")


if __name__ == "__main__":
    unittest.main()
