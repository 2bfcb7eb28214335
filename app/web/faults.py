"""Errors as a person sees them: a page for a browser, a problem for every other program."""

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    make_response,
    render_template,
    request,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app.api.errors import as_problem

_TITLES = {
    400: "That did not make sense",
    403: "Not allowed",
    404: "Not found",
    405: "Not that way",
    413: "Too large",
    503: "Not available right now",
}


def register(app: Flask, pages: Blueprint) -> None:
    """Answers the errors of pages, and those of addresses that nobody answers."""
    pages.register_error_handler(Exception, _of_a_page)
    for status in (404, 405):
        app.register_error_handler(status, _of_no_view)


def _of_a_page(error: Exception) -> Response | HTTPException:
    if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
        return error
    problem = as_problem(error)
    if not _for_a_browser():
        return problem.response()
    page = render_template(
        "web/fault.html",
        title=_TITLES.get(problem.status, "Something went wrong"),
        detail=problem.detail,
        status=problem.status,
    )
    response = make_response(page, problem.status)
    response.headers.update(problem.headers)
    return response


def _of_no_view(error: Exception) -> Response | HTTPException:
    return as_problem(error).response() if _is_of_the_api(error) else _of_a_page(error)


def _is_of_the_api(error: Exception) -> bool:
    """Whether the address is one of the API, whose errors have one form for all callers."""
    if request.url_rule is not None:
        return True
    adapter = current_app.create_url_adapter(request)
    if adapter is None or not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return False
    endpoint, _ = adapter.match(method=next(iter(error.valid_methods)))
    return not str(endpoint).startswith("web.")


def _for_a_browser() -> bool:
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]
