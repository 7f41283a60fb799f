// The browsable table of answers. What a model wrote only ever becomes text (textContent), never markup.
const answers = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("filters");
const list = document.getElementById("answers");
const more = document.getElementById("more");
const PAGE = 50;
const KINDS = {
  "all": () => true,
  "fixed": a => a.kind === "fixed",
  "broken": a => a.kind === "broken",
  "still wrong": a => a.kind === "still wrong",
  "still right": a => a.kind === "still right",
  "cut at the token limit": a => a.before.cut || a.after.cut,
  "no answer": a => a.after.read === null,
  "flexible extraction disagrees": a => a.after.flexible !== (a.after.verdict === "correct"),
};
let shown = PAGE;

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function completion(when, answer) {
  const box = document.createElement("div");
  const facts = [answer.read === null ? "nothing read" : `read ${answer.read}`, `${answer.tokens} tokens`];
  if (answer.cut) facts.push("cut");
  box.append(
    element("b", answer.verdict === "correct" ? "right" : "wrong", `${when}: ${answer.verdict}`),
    element("span", "small", ` ${facts.join(", ")}`),
    element("pre", "", answer.text));
  return box;
}

function row(answer) {
  const details = element("details", "answer", "");
  const summary = document.createElement("summary");
  const good = answer.kind === "fixed" || answer.kind === "still right";
  summary.append(
    element("span", good ? "right" : "wrong", answer.kind), element("span", "", answer.id), element("span", "", answer.question));
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    const pair = element("div", "pair", "");
    pair.append(completion("before", answer.before), completion("after", answer.after));
    details.append(element("pre", "", `${answer.question}\n\ngold: ${answer.gold}`), pair);
  });
  return details;
}

function update() {
  const search = form.search.value.toLowerCase();
  const found = answers.filter(a => a.benchmark === form.benchmark.value && KINDS[form.kind.value](a) &&
    [a.question, a.before.text, a.after.text, a.gold].join("\n").toLowerCase().includes(search));
  list.replaceChildren(...found.slice(0, shown).map(row));
  document.getElementById("count").textContent = `${found.length} of ${answers.filter(a => a.benchmark === form.benchmark.value).length}`;
  more.hidden = found.length <= shown;
  const state = new URLSearchParams(new FormData(form));
  history.replaceState(null, "", `#${state}`); // the address can be sent to somebody
}

for (const [name, choices] of [["benchmark", [...new Set(answers.map(a => a.benchmark))]], ["kind", Object.keys(KINDS)]])
  for (const choice of choices) form[name].append(new Option(choice));
for (const [name, value] of new URLSearchParams(location.hash.slice(1))) if (form[name] && (form[name].type === "search" || [...form[name].options].some(option => option.value === value))) form[name].value = value;
form.addEventListener("input", () => { shown = PAGE; update(); });
form.addEventListener("submit", event => event.preventDefault());
more.addEventListener("click", () => { shown += PAGE; update(); });
update();
