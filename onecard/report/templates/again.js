// The page asks for itself every few seconds, and takes over what is new.
async function again() {
  let page = null;
  try {
    const answer = await fetch("/");
    page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    document.title = "no answer since " + new Date().toLocaleTimeString();
  }
  if (page && page.querySelector("#answers")) {
    location.reload(); // the run has finished: its report
    return;
  }
  if (page) {
    for (const part of ["main", "h1", "title"]) {
      document.querySelector(part).replaceWith(page.querySelector(part));
    }
  }
  setTimeout(again, 5000);
}
setTimeout(again, 5000);
