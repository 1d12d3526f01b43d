// A link that brings the token has it behind #, which is sent to no server and stands in no log.
const form = document.querySelector("[data-door]");
const brought = decodeURIComponent(location.hash.slice(1));
if (form && brought) {
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = brought;
  form.submit();
}
